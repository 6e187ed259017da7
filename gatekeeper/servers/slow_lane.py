"""Making the doubtful wait for their answers: how many at once, so that patience costs them more than it costs us."""

from __future__ import annotations

from gatekeeper import metrics
from gatekeeper.servers.conversation import Conversation


class SlowLane:
    """The places of one worker. Who finds none is answered at once: waiting is a brake and never the refusal itself."""

    def __init__(self, places: int) -> None:
        self._places = places
        self.slowed = 0

    async def wait(self, conversation: Conversation, seconds: float) -> bool:
        """Whether there was a place, and so a wait. Raises ClientGone as soon as the connection is lost."""
        if self.slowed >= self._places:
            metrics.SLOWED["no_place"].inc()
            return False
        self.slowed += 1
        metrics.SLOWED["waited"].inc()
        try:
            await conversation.pause(seconds)
        finally:
            self.slowed -= 1
        return True
