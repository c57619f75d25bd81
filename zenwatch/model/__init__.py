"""The nouns of the flow as pure data: finding, event, record, envelope. Nothing here reads or writes anything."""
