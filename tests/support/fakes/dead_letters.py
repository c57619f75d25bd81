"""contract.DeadLetters, kept in a list."""

import asyncio

from zenwatch.model.queue import DeadLetter


class ListedLetters:
    """letters: in the order of put(). is_asked: put() was called. returned: those that bring_back() gave out."""

    def __init__(self) -> None:
        self.letters: list[DeadLetter] = []
        self.is_asked = False
        self.returned: list[DeadLetter] = []
        self._open = asyncio.Event()
        self._open.set()

    def hold(self) -> None:
        """From now on, put() does not return."""
        self._open.clear()

    async def put(self, letter: DeadLetter) -> None:
        self.is_asked = True
        await self._open.wait()
        self.letters.append(letter)

    async def bring_back(self, target: str, most: int) -> int:
        letters = [letter for letter in self.letters if letter.target == target]
        self.returned += letters[:most]
        self.letters = [letter for letter in self.letters if letter not in self.returned]
        return len(letters[most:])
