"""What the gateway's scheduler hands out."""

from services.runtime.admission import Capacity


def fields_capacity(at_once: int, waiting: int) -> Capacity:
    """So many fields at one time, one more where it is STAT, and one other beside STAT.

    docs/decisions/0016-admission.md says why.

    Args:
        at_once: how many are analysed at one time.
        waiting: how many may wait for their turn.
    """
    return Capacity("fields", at_once + 1, waiting, kept_for_stat=1, beside_stat=1)


def streams_capacity(at_once: int) -> Capacity:
    """So many open streams, and a quarter more where they are STAT; none waits."""
    for_stat = max(1, at_once // 4)
    return Capacity("streams", at_once + for_stat, waiting=0, kept_for_stat=for_stat)
