"""The cost line of a padded attempt and its plan; test_plan_cost.py holds plans to what is counted."""

from dataclasses import replace

import pytest
from tenants import small_tenant
from unit.test_logistic_costs import Counted, documented

from roles.classifiers.hoeffding_tree_growth import Growth, TreeSettings
from roles.classifiers.hoeffding_tree_padded_attempt import PaddedAttemptShape
from roles.classifiers.hoeffding_tree_shape import TreeModel
from roles.plan_cost import session_cost

SMALL = small_tenant()


@pytest.mark.parametrize("attempts", [0, 1, 2, 5])
@pytest.mark.parametrize("together", [3, 8])
def test_an_attempt(attempts: int, together: int) -> None:
    growth = Growth(TreeSettings(max_leaves=16, pad_depth=3, leaves_per_attempt=together), records=300)
    for _ in range(attempts):
        growth = replace(growth.after_padded_attempt(), records=growth.records + 300)
    model, parameters = TreeModel(SMALL.tenant, "m", growth.settings), SMALL.tenant.parameters
    shape = PaddedAttemptShape(model, growth)
    cost = session_cost(shape.plan, parameters)
    found: Counted = {
        "rounds": cost.rounds,
        "request_bytes": sum(cost.requests),
        "reply_bytes": sum(cost.replies),
    }
    for unit, tally in (("master", cost.master), ("secondary", cost.secondary)):
        found[f"{unit}.powers"] = tally.powers_short + tally.powers_full + tally.fixed_base
        found |= {f"{unit}.{name}": getattr(tally, name) for name in ("cots", "cot_payload_bytes", "ands")}
    due = len(shape.due)
    sizes = {
        "c": parameters.component_bytes,
        "d": due,
        "F": model.tests,
        "C": model.classes,
        "I": shape.inner,
        "P": len(shape.spine_nodes),
        "p": max(len(spine) for spine in shape.spines),
        "s": shape.statistics.ciphertexts,
        "k_t": shape.tests.ciphertexts if shape.inner else 0,
        "k_n": shape.sums.layout.ciphertexts,
        "l_t": shape.tests_after.ciphertexts,
        "l_n": shape.sums_after.ciphertexts,
        "G": shape.decision.and_gates(due),
        "Q": shape.decision.choice_count(due),
    }
    assert found == documented("dt_padded_attempt", sizes)
