"""What must be true of the marketplace at any moment, asked of the tables in words of our own: none of the services that
keep it true has a say here. And what stands in the tables, in a form that can be compared.
"""

from __future__ import annotations

from typing import Final

from django.apps import apps
from django.db import connection

# The bucket of an age, written down a second time on purpose.
_BUCKET: Final = """CASE WHEN {days} < 90 THEN 'none' WHEN {days} < 180 THEN 'MONTH_3_TO_5' WHEN {days} < 270 THEN 'MONTH_6_TO_8'
    WHEN {days} < 360 THEN 'MONTH_9_TO_11' WHEN {days} < 720 THEN 'MONTH_12_TO_23' ELSE 'MONTH_24_PLUS' END"""
_AGE: Final = "floor(extract(epoch FROM s.sold_at - l.called_in_at) / 86400)"
_REPLACEMENT: Final = "EXISTS (SELECT FROM marketplace_return r WHERE r.replacement_id = s.id)"
_QUOTED: Final = """(SELECT min((line ->> 'unit_price')::numeric) FROM marketplace_purchase p
    JOIN marketplace_quote q ON q.id = p.quote_id CROSS JOIN jsonb_array_elements(q.lines) AS line
    WHERE p.id = s.purchase_id AND line ->> 'classification' = s.classification AND line ->> 'age_bucket' = s.age_bucket)"""
_IN_FORCE: Final = """(SELECT p.price FROM marketplace_pricingrule p WHERE p.classification = s.classification
    AND p.age_bucket = s.age_bucket AND p.effective_from <= s.sold_at
    AND (p.effective_to IS NULL OR p.effective_to > s.sold_at))"""
_OPEN: Final = "i.sold_at IS NULL AND i.closed_at IS NULL"

AT_THE_PRICE: Final = "a sale has the price that was in force, or was quoted, or nothing for a replacement"
NOBODY_GONE: Final = "nobody who is gone stands on the shelf"

# A sentence, and the rows that give it the lie.
TRUTHS: Final = {
    "a lead is sold once per bucket": """
        SELECT 1 FROM marketplace_sale GROUP BY lead_id, age_bucket HAVING count(*) > 1""",
    "an item is sold once": "SELECT 1 FROM marketplace_sale GROUP BY item_id HAVING count(*) > 1",
    "nobody is sold twice to one buyer, under whatever lead and number": """
        SELECT 1 FROM (SELECT s.business_id, s.id, m.mark FROM marketplace_sale s
            JOIN marketplace_agedlead l ON l.id = s.lead_id
            CROSS JOIN LATERAL (SELECT DISTINCT unnest(ARRAY[l.phone_mark, l.other_mark]) AS mark) m
            WHERE m.mark IS NOT NULL) AS people
        GROUP BY business_id, mark HAVING count(*) > 1""",
    "a lead is sold to a buyer once, with a number or without": """
        SELECT 1 FROM marketplace_sale GROUP BY business_id, lead_id HAVING count(*) > 1""",
    "a sale is in the bucket the lead was in": f"""
        SELECT 1 FROM marketplace_sale s JOIN marketplace_agedlead l ON l.id = s.lead_id
        WHERE s.age_bucket <> {_BUCKET.format(days=_AGE)}""",
    "an item is sold if there is a sale of it, which says the same": """
        SELECT 1 FROM marketplace_inventoryitem i FULL JOIN marketplace_sale s ON s.item_id = i.id
        WHERE i.sold_at IS DISTINCT FROM s.sold_at OR (s.id IS NOT NULL AND (s.lead_id, s.age_bucket, s.classification)
            IS DISTINCT FROM (i.lead_id, i.age_bucket, i.classification))""",
    "an item says what its lead says": """
        SELECT 1 FROM marketplace_inventoryitem i JOIN marketplace_agedlead l ON l.id = i.lead_id
        WHERE (i.classification, i.state, i.county, i.called_in_at)
            IS DISTINCT FROM (l.classification, l.state, l.county, l.called_in_at)""",
    "an item is on one shelf, and was made when its lead was in that bucket": f"""
        SELECT 1 FROM marketplace_inventoryitem i JOIN marketplace_agedlead l ON l.id = i.lead_id
        WHERE i.age_bucket <> {_BUCKET.format(days=_AGE.replace("s.sold_at", "i.created_at"))}
            OR (i.closed_at IS NULL) <> (i.closed_because = '')""",
    AT_THE_PRICE: f"""
        SELECT 1 FROM marketplace_sale s WHERE s.currency <> 'USD'
            OR s.price IS DISTINCT FROM CASE WHEN {_REPLACEMENT} THEN 0 ELSE coalesce({_QUOTED}, {_IN_FORCE}) END""",
    "a purchase is whole, and its total is the sum of its sales": f"""
        SELECT 1 FROM marketplace_purchase p
        LEFT JOIN (SELECT s.purchase_id, count(*) AS sales, sum(s.price) AS total FROM marketplace_sale s
            WHERE NOT {_REPLACEMENT} GROUP BY 1) AS s ON s.purchase_id = p.id
        WHERE p.quantity IS DISTINCT FROM s.sales OR p.total IS DISTINCT FROM s.total OR p.replaced > p.quantity""",
    "the sales of a purchase are its buyer's, of its moment": f"""
        SELECT 1 FROM marketplace_sale s JOIN marketplace_purchase p ON p.id = s.purchase_id
        WHERE s.business_id <> p.business_id OR (s.sold_at <> p.created_at AND NOT {_REPLACEMENT})""",
    "a quote is bought once, while it stands": """
        SELECT 1 FROM marketplace_purchase p JOIN marketplace_quote q ON q.id = p.quote_id
        GROUP BY q.id, q.business_id, q.expires_at, q.total_items
        HAVING count(*) > 1 OR max(p.created_at) > q.expires_at OR min(p.quantity) <> q.total_items
            OR bool_or(p.business_id <> q.business_id)""",
    "a balance is the sum of its lines": """
        SELECT 1 FROM marketplace_buyer b LEFT JOIN (SELECT business_id, sum(amount) AS total
            FROM marketplace_journalline WHERE account = 'buyer' GROUP BY 1) AS l ON l.business_id = b.business_id
        WHERE b.balance <> coalesce(l.total, 0)""",
    "a balance is what was paid in and credited, less what was bought": """
        SELECT 1 FROM marketplace_buyer b WHERE b.balance
            <> (SELECT coalesce(sum(-l.amount), 0) FROM marketplace_journalline l
                WHERE l.business_id = b.business_id AND l.account IN ('cash', 'adjustments'))
            + (SELECT coalesce(sum(s.price), 0) FROM marketplace_return r JOIN marketplace_sale s ON s.id = r.sale_id
                WHERE r.business_id = b.business_id AND r.status = 'credited')
            - (SELECT coalesce(sum(s.price), 0) FROM marketplace_sale s WHERE s.business_id = b.business_id)""",
    "an entry adds up to nothing": """
        SELECT 1 FROM marketplace_journalline GROUP BY entry_id HAVING sum(amount) <> 0""",
    "a purchase is booked once, in full": """
        SELECT 1 FROM marketplace_purchase p
        LEFT JOIN marketplace_journalentry e ON e.kind = 'purchase' AND e.about = 'purchase:' || p.id
        LEFT JOIN marketplace_journalline l ON l.entry_id = e.id AND l.account = 'buyer'
        GROUP BY p.id, p.total HAVING count(e.id) <> 1 OR coalesce(sum(l.amount), 0) <> -p.total""",
    "a wallet never falls below its credit limit": """
        SELECT 1 FROM marketplace_buyer WHERE terms = 'prepaid' AND balance < -credit_limit""",
    "the stock counts what stands on the shelf": f"""
        SELECT 1 FROM (SELECT classification, age_bucket, state, county, available FROM marketplace_stock
            UNION ALL SELECT classification, age_bucket, state, county, -1 FROM marketplace_inventoryitem i
            WHERE {_OPEN}) AS cells GROUP BY classification, age_bucket, state, county HAVING sum(available) <> 0""",
    "a lead that was erased is empty": """
        SELECT 1 FROM marketplace_agedlead WHERE erased_at IS NOT NULL AND concat(full_name, first_name, last_name,
            co_borrower_name, phone, other_phone, borrower_phone, call_in_phone_number, address, city, zip, mortgage_id,
            phone_mark, other_mark) <> ''""",
    NOBODY_GONE: f"""
        SELECT 1 FROM marketplace_inventoryitem i JOIN marketplace_agedlead l ON l.id = i.lead_id
        WHERE {_OPEN} AND (l.erased_at IS NOT NULL
            OR EXISTS (SELECT FROM marketplace_goneperson g WHERE g.mark IN (l.phone_mark, l.other_mark)))""",
    "whoever is sold is known to the buyer from then on": """
        SELECT 1 FROM marketplace_sale s JOIN marketplace_agedlead l ON l.id = s.lead_id
        CROSS JOIN LATERAL unnest(ARRAY[l.phone_mark, l.other_mark]) AS m (mark)
        WHERE m.mark IS NOT NULL AND NOT EXISTS (SELECT FROM marketplace_knownphone k
            WHERE k.business_id = s.business_id AND k.mark = m.mark)""",
    "a return is replaced by its like, or credited once, or neither": """
        SELECT 1 FROM marketplace_return r JOIN marketplace_sale s ON s.id = r.sale_id
        LEFT JOIN marketplace_sale n ON n.id = r.replacement_id
        LEFT JOIN marketplace_journalentry e ON e.kind = 'return' AND e.about = 'return:' || r.id
        LEFT JOIN marketplace_journalline l ON l.entry_id = e.id AND l.account = 'buyer'
        GROUP BY r.id, s.id, n.id HAVING coalesce(sum(l.amount), 0) <> CASE r.status WHEN 'credited' THEN s.price ELSE 0 END
            OR count(e.id) <> CASE r.status WHEN 'credited' THEN 1 ELSE 0 END
            OR (r.status = 'replaced') <> (n.id IS NOT NULL)
            OR (n.id IS NOT NULL AND (n.classification, n.age_bucket, n.purchase_id, n.business_id, n.sold_at)
                IS DISTINCT FROM (s.classification, s.age_bucket, s.purchase_id, s.business_id, r.decided_at))
            OR (r.status = 'requested') <> (r.decided_at IS NULL)""",
    "a lead is returned once, in time, and a replacement never": """
        SELECT 1 FROM marketplace_return r JOIN marketplace_sale s ON s.id = r.sale_id
        JOIN marketplace_buyer b ON b.business_id = r.business_id
        WHERE r.requested_at > s.sold_at + make_interval(days => b.return_days)
            OR EXISTS (SELECT FROM marketplace_return o WHERE o.id <> r.id AND o.sale_id = r.sale_id)
            OR EXISTS (SELECT FROM marketplace_return o WHERE o.replacement_id = r.sale_id)""",
    "a buyer of a lead that was recalled is told once for every sale": """
        SELECT 1 FROM marketplace_recall c JOIN marketplace_sale s ON s.lead_id = c.lead_id
        LEFT JOIN marketplace_recallnotice n ON n.recall_id = c.id AND n.sale_id = s.id AND n.business_id = s.business_id
        GROUP BY c.id, s.id HAVING count(n.id) <> 1""",
    "nobody is told of what they did not buy": """
        SELECT 1 FROM marketplace_recallnotice n JOIN marketplace_recall c ON c.id = n.recall_id
        LEFT JOIN marketplace_sale s ON s.id = n.sale_id AND s.lead_id = c.lead_id WHERE s.id IS NULL""",
    "a lead of somebody who is gone was recalled": """
        SELECT 1 FROM marketplace_goneperson g JOIN marketplace_agedlead l ON g.mark IN (l.phone_mark, l.other_mark)
        WHERE NOT EXISTS (SELECT FROM marketplace_recall c WHERE c.lead_id = l.id AND c.because = g.because)""",
    "prices of one kind follow each other": """
        SELECT 1 FROM (SELECT effective_to, lead(effective_from) OVER kind AS next FROM marketplace_pricingrule
            WINDOW kind AS (PARTITION BY classification, age_bucket ORDER BY effective_from)) AS p
        WHERE effective_to IS DISTINCT FROM next""",
    "a file that was read is accounted for, row by row": """
        SELECT 1 FROM marketplace_ingestrun r WHERE status = 'done' AND (
            done_rows <> successful + known + blocked + failed + skipped OR successful <> gold + silver
            OR (NOT dry_run AND successful <> (SELECT count(*) FROM marketplace_agedlead l WHERE l.run_id = r.id))
            OR total_rows <> done_rows)""",
}  # fmt: skip


def untruths(*, but: tuple[str, ...] = ()) -> list[str]:
    """The sentences that are not true now; `but` those."""
    asked = [
        f"(SELECT %s::text AS sentence WHERE EXISTS ({sql}))" for sentence, sql in TRUTHS.items() if sentence not in but
    ]
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # what waits for the commit speaks now
        cursor.execute(" UNION ALL ".join(asked), [sentence for sentence in TRUTHS if sentence not in but])
        found = [sentence for (sentence,) in cursor.fetchall()]
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")
    return found


_TABLES: Final = ("crm_auditevent", "crm_consent", "crm_heartbeat", "crm_activity", "leads_lead")


def everything() -> dict[str, str]:
    """A digest of each table that something here writes to."""
    tables = [*_TABLES, *(model._meta.db_table for model in apps.get_app_config("marketplace").get_models())]
    with connection.cursor() as cursor:
        cursor.execute(
            " UNION ALL ".join(
                f"(SELECT '{table}', count(*) || ' ' || coalesce(md5(string_agg(t::text, '~' ORDER BY t::text)), '')"
                f" FROM {table} t)"
                for table in tables
            )
        )
        return dict(cursor.fetchall())
