"""How often the 95 % intervals of counterfactual estimates hold the truth, in worlds where the truth is planted.

    .venv/bin/python benchmarks/off_policy_coverage.py --runs 1000

Each run logs users' moments under a policy that explores, and asks what another policy would have earned. Printed over
all runs: how many abstained, the share of intervals that hold the truth, their mean width, the root mean square error
(both in milliseconds per moment) and the mean effective number of moments. "DR, misled" has a nonsense reward model;
"SNIPS, textbook" is the usual interval, 1.96 linearised errors clustered by user to each side.
"""

import argparse

from usage_analytics.simulation.logged_preloads import PreloadWorld
from usage_analytics.simulation.off_policy_trials import tally

WORLDS = {
    "300 users": (PreloadWorld(), 300),
    "100 users": (PreloadWorld(), 100),
    "1,000 users": (PreloadWorld(), 1_000),
    "40 users who come often": (PreloadWorld(moments_per_user=150.0), 40),
    "300 users who come seldom": (PreloadWorld(moments_per_user=6.0), 300),
    "exploring 1 moment in 20": (PreloadWorld(exploration=0.05), 300),
    "longer tails": (PreloadWorld(wait_spread=1.5, user_spread=0.8), 300),
    "contexts that tell the wait": (PreloadWorld(wait_spread=0.2, user_spread=0.2, hits=(0.7, 1.0)), 300),
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0, help="of the first run; the others follow")
    chosen = parser.parse_args()
    print("| world | estimator | runs | abstained | coverage | mean width | error | mean ESS |")
    print("|---|---|---|---|---|---|---|---|")
    for name, (world, users) in WORLDS.items():
        for estimator, counted in tally(world, users, range(chosen.seed, chosen.seed + chosen.runs)).items():
            print(
                f"| {name} | {estimator} | {counted.runs} | {counted.abstained} | {counted.coverage:.1%} "
                f"| {counted.mean_width:.1f} | {counted.error:.1f} | {counted.effective_moments:.0f} |"
            )


if __name__ == "__main__":
    main()
