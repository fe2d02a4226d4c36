"""A shelf of millions of leads, made in the database itself: spread over three years, fifty states and a thousand counties.

They stand in the order in which they came in, as the files of a call center bring them.
"""

from __future__ import annotations

from datetime import datetime

from django.db import connection

STATES = (
    "AL AK AZ AR CA CO CT DE FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ NM NY NC ND OH OK OR PA RI"
    " SC SD TN TX UT VT VA WA WV WI WY"
)
_TABLES = (
    "marketplace_invoiceline, marketplace_invoice, marketplace_journalline, marketplace_journalentry, marketplace_return,"
    " marketplace_recallnotice, marketplace_recall, marketplace_exportdownload, marketplace_export, marketplace_sale,"
    " marketplace_purchase, marketplace_quote, marketplace_knownphone, marketplace_stock, marketplace_inventoryitem,"
    " marketplace_agedlead, marketplace_ingestproblem, marketplace_ingestrun, marketplace_goneperson"
)


def empty() -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {_TABLES}")
        cursor.execute("ALTER TABLE marketplace_buyer DISABLE TRIGGER marketplace_guard_balance")
        cursor.execute("UPDATE marketplace_buyer SET balance = 0")
        cursor.execute("ALTER TABLE marketplace_buyer ENABLE TRIGGER marketplace_guard_balance")


def fill(count: int, *, now: datetime) -> None:
    """`count` leads, each on the shelf of its bucket; the youngest is 90 days old."""
    have = size()
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")  # the counters are filled in one go below
        cursor.execute("SELECT setseed(0.5)")
        cursor.execute(
            """
            INSERT INTO marketplace_agedlead (id, natural_key, classification, called_in_at, state, county, phone,
                other_phone, phone_mark, mortgage_id, campaign_id, type, status, full_name, first_name, last_name,
                co_borrower_name, address, city, zip, mortgage_amount, lender, sale_date, agent_id, call_in_phone_number,
                borrower_phone, borrower_age, borrower_medical_issues, borrower_tobacco_use, co_borrower, source,
                call_in_date, created_at)
            SELECT lpad(to_hex(n), 32, '0')::uuid, md5('key' || n)::uuid, CASE WHEN (n / 50) %% 2 = 0 THEN 'Gold' ELSE 'Silver' END,
                %(now)s - make_interval(secs => 86400 * (90 + 1000 * (1 - n::float / %(count)s)) + random() * 3600),
                (%(states)s::text[])[1 + n %% 50], 'County ' || (n / 100) %% 20, '+1' || 2000000000 + n, '',
                md5('phone' || n)::uuid, 'M-' || n, 'C-7', 'Refinance', 'Called', 'John Moore', 'John', 'Moore', '',
                n || ' Main Street', 'Shreveport', '71101', '$100,000', 'First Bank', '01-15-2024', 'A-3', '',
                '2000000000', '52', 'No', 'No', 'Yes', 'Radio', '01-15-2025 10:00:00', %(now)s
            FROM generate_series(%(have)s + 1, %(count)s) AS n
            """,
            {"now": now, "states": STATES.split(), "have": have, "count": count},
        )
        cursor.execute("TRUNCATE marketplace_stock")
        cursor.execute(
            """
            INSERT INTO marketplace_inventoryitem (id, lead_id, age_bucket, classification, state, county, called_in_at,
                created_at, closed_because)
            SELECT lpad(to_hex(row_number() OVER (ORDER BY called_in_at)), 32, '0')::uuid, l.id,
                CASE WHEN age < 180 THEN 'MONTH_3_TO_5' WHEN age < 270 THEN 'MONTH_6_TO_8'
                WHEN age < 360 THEN 'MONTH_9_TO_11' WHEN age < 720 THEN 'MONTH_12_TO_23' ELSE 'MONTH_24_PLUS' END,
                l.classification, l.state, l.county, l.called_in_at, %(now)s, ''
            FROM (SELECT *, extract(epoch FROM %(now)s - called_in_at) / 86400 AS age FROM marketplace_agedlead) l
            ORDER BY called_in_at
            """,
            {"now": now},
        )
        cursor.execute(
            "INSERT INTO marketplace_stock (classification, age_bucket, state, county, available)"
            " SELECT classification, age_bucket, state, county, count(*) FROM marketplace_inventoryitem"
            " WHERE sold_at IS NULL AND closed_at IS NULL GROUP BY 1, 2, 3, 4"
        )
        cursor.execute("SET session_replication_role = DEFAULT")
        cursor.execute("VACUUM ANALYZE marketplace_agedlead")
        cursor.execute("VACUUM ANALYZE marketplace_inventoryitem")
        cursor.execute("VACUUM ANALYZE marketplace_stock")


def size() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM marketplace_agedlead")
        return int(cursor.fetchone()[0])
