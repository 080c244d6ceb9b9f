"""An unchanged re-push: from `git push` to the new release's own answer, beside the same by hand."""

import time

from ..by_hand import open_by_hand
from ..figures import Row, figure, ratio
from ..place import HOST, Place

TARGET = 3.0


def measure(place: Place, *, times: int) -> list[Row]:
    """Return the ratio; pushes and builds by hand alternate, so that what disturbs the machine disturbs both."""
    place.deploy()
    pushes, builds, answers = [], [], []
    with open_by_hand(place) as by_hand:
        by_hand.build_and_run()  # once unmeasured, as the first push was
        for _ in range(times):
            place.commit()
            place.wait_calm()
            pushes.append(_push(place))
            place.wait_calm()
            done = by_hand.build_and_run()
            builds.append(done.build_s)
            answers.append(done.answer_s)
    pushed = figure("s", pushes)
    hand = figure("s", (build + answer for build, answer in zip(builds, answers, strict=True)))
    return [
        Row(
            key="push",
            title="unchanged `git push`, to live / build and run by hand",
            shown=ratio(pushed, hand),
            target=TARGET,
            beside={
                "to live": pushed,
                "by hand": hand,
                "by hand, the build": figure("s", builds),
                "by hand, run to answer": figure("s", answers),
            },
        )
    ]


def _push(place: Place) -> float:
    before = place.appliance.fetch(HOST).text
    started = time.perf_counter()
    place.push()
    while place.appliance.fetch(HOST).text == before:  # the app names its job and its release
        time.sleep(0.005)
    return time.perf_counter() - started
