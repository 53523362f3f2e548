"""Look-ups that an application asks in real time, prepared ahead of time.

from usage_analytics.serving import PreloadPlan
PreloadPlan.open("preload_plans/2026-11-27-68c244d58a2f.plan").next(None, ["quotes", "charts"]).items
"""

from usage_analytics.serving.preload_plan import PreloadPlan

__all__ = ["PreloadPlan"]
