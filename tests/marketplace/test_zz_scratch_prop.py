import time, os, random
from collections import Counter
import pytest
from tests.marketplace.test_properties import stage, tell, LIFE, shortest
from tests.marketplace import test_properties as tp
from marketplace.services import purchases, returns, recalls, inventory, ingest, known, prices, books, withdrawals
C = Counter()
@pytest.mark.timeout(3000)
def test_it(stage, monkeypatch):
    for mod in (purchases, returns, recalls, inventory, ingest, known, prices, books, withdrawals):
        for name in ("buy_by_criteria buy_items buy_quote quote_criteria quote_items ask accept decline forget hear_opt_outs look_again roll_over tidy_stock work_on upload forget_uploads set_price take_back top_up refund adjust set_terms withdraw put_back replace_sale record_payment".split()):
            if hasattr(mod, name):
                f = getattr(mod, name)
                def w(*a, _f=f, _n=name, **k):
                    try:
                        r=_f(*a, **k)
                    except Exception as e:
                        C[_n, type(e).__name__]+=1; raise
                    C[_n, "ok"]+=1
                    if _n=="replace_sale": C[_n, "none" if r is None else "found"]+=1
                    if _n in("buy_items",) and r.replaced: C["replaced"]+=1
                    if _n=="roll_over": C["rolled created"]+=r.created; C["rolled closed"]+=r.closed
                    return r
                monkeypatch.setattr(mod, name, w)
    lo,hi,steps=int(os.environ.get("LO","0")),int(os.environ.get("HI","10")),int(os.environ.get("STEPS","50"))
    t=time.perf_counter()
    for number in range(lo,hi):
        dice = random.Random(number)
        happens = dice.choices(list(LIFE), list(LIFE.values()), k=steps)
        story = [(one, f"{number}/{index}") for index, one in enumerate(happens)]
        wrong = tell(stage, story)
        if wrong:
            print("WRONG", number, wrong)
            story = shortest(stage, story[: wrong[0] + 1])
            _, error = tell(stage, story) or wrong
            raise AssertionError("It goes wrong after\n" + "\n".join(map(str, story))) from error
    print("wall",time.perf_counter()-t)
    for k,v in sorted(C.items(), key=str): print(k,v)
