"""The plan of a process that stays: it goes on answering while the folder's current plan is swapped or fails."""

from usage_analytics.errors import UserError
from usage_analytics.serving.plan_folder import PlanFolder
from usage_analytics.serving.preload_plan import PreloadPlan


class LivePlan:
    """The folder's current plan, or the last one that could be opened."""

    def __init__(self, folder: PlanFolder) -> None:
        self._folder = folder
        self.plan: PreloadPlan | None = None  # None until there is one
        self.trouble: str | None = None  # why the folder's current plan is not the one that answers

    def refresh(self) -> None:
        """Look whether the current plan is another one; a look costs nothing, opening takes what a file's bytes take.

        Meanwhile the old one answers other threads.
        """
        try:
            self.plan, self.trouble = self._folder.current(), None
        except (UserError, OSError) as error:
            self.trouble = str(error)
