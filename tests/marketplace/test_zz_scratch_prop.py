import time, cProfile, pstats, os
from collections import Counter
import pytest
from hypothesis import settings, HealthCheck, Phase
from hypothesis.stateful import run_state_machine_as_test
from tests.marketplace.test_properties import Market, stage
from tests.marketplace import test_properties as tp
from marketplace.services import purchases, returns, recalls, inventory, ingest, known, prices, books, withdrawals
C = Counter(); T = Counter()
@pytest.mark.timeout(3000)
def test_it(stage, monkeypatch):
    for mod in (purchases, returns, recalls, inventory, ingest, known, prices, books, withdrawals):
        for name in ("buy_by_criteria buy_items buy_quote quote_criteria quote_items ask accept decline forget hear_opt_outs look_again roll_over tidy_stock work_on upload forget_uploads set_price take_back top_up refund adjust set_terms withdraw put_back replace_sale record_payment".split()):
            if hasattr(mod, name):
                f = getattr(mod, name)
                def w(*a, _f=f, _n=name, **k):
                    t=time.process_time()
                    try:
                        r=_f(*a, **k)
                    except Exception as e:
                        C[_n, type(e).__name__]+=1; raise
                    finally: T[_n]+=time.process_time()-t
                    C[_n, "ok"]+=1
                    if _n=="replace_sale": C[_n, "none" if r is None else "found"]+=1
                    if _n in("buy_items",) and r.replaced: C["replaced"]+=1
                    if _n=="roll_over": C["rolled created"]+=r.created; C["rolled closed"]+=r.closed
                    return r
                monkeypatch.setattr(mod, name, w)
    for n in ("untruths","everything"):
        f=getattr(tp,n)
        def w(*a,_f=f,_n=n,**k):
            t=time.process_time(); 
            try: return _f(*a,**k)
            finally: T[_n]+=time.process_time()-t; C[_n]+=1
        monkeypatch.setattr(tp,n,w)
    n=int(os.environ.get("N","12")); steps=int(os.environ.get("STEPS","30")); rnd=os.environ.get("RND")
    t=time.perf_counter(); c=time.process_time()
    try:
        run_state_machine_as_test(type("ThisMarket",(Market,),{"stage":stage}), settings=settings(max_examples=n, stateful_step_count=steps, derandomize=not rnd, deadline=None, database=None, print_blob=True, suppress_health_check=list(HealthCheck)))
    finally:
        print("wall",time.perf_counter()-t,"cpu", time.process_time()-c)
        for k,v in sorted(C.items(), key=str): print(k,v)
        for k,v in T.most_common(): print(k, round(v,2))
