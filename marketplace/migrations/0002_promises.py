from django.db import migrations

from crm.scoping import wall

# What a lead was when it came in stays: the inventory and every sale lean on it.
FIXED_FACTS = """
CREATE FUNCTION marketplace_facts_are_fixed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.classification, NEW.called_in_at, NEW.state, NEW.county, NEW.natural_key)
        IS DISTINCT FROM (OLD.classification, OLD.called_in_at, OLD.state, OLD.county, OLD.natural_key) THEN
        RAISE EXCEPTION 'The class, date and place of a lead never change.' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER marketplace_lead_facts BEFORE UPDATE ON marketplace_agedlead
    FOR EACH ROW EXECUTE FUNCTION marketplace_facts_are_fixed();
"""
FREE_FACTS = """
DROP TRIGGER marketplace_lead_facts ON marketplace_agedlead;
DROP FUNCTION marketplace_facts_are_fixed();
"""

# Sales and the books are evidence: a row that was written stays as it was written.
_WRITTEN_ONCE = ("marketplace_sale", "marketplace_journalentry", "marketplace_journalline", "marketplace_invoiceline")
APPEND_ONLY = """
CREATE FUNCTION marketplace_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: add a row instead.', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation';
END $$;
""" + "".join(
    f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table}"
    " FOR EACH ROW EXECUTE FUNCTION marketplace_is_append_only();\n"
    for table in _WRITTEN_ONCE
)
NOT_APPEND_ONLY = (
    "".join(f"DROP TRIGGER {table}_append_only ON {table};\n" for table in _WRITTEN_ONCE)
    + "DROP FUNCTION marketplace_is_append_only();"
)

# Every entry adds up to zero when its transaction commits; the buyer's balance is moved by the line itself, and by
# nothing else.
BOOKS = """
CREATE FUNCTION marketplace_entry_adds_up() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT sum(amount) FROM marketplace_journalline WHERE entry_id = NEW.entry_id) <> 0 THEN
        RAISE EXCEPTION 'The lines of a journal entry add up to zero.' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER marketplace_entry_adds_up AFTER INSERT ON marketplace_journalline
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION marketplace_entry_adds_up();

CREATE FUNCTION marketplace_move_balance() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE marketplace_buyer SET balance = balance + NEW.amount WHERE business_id = NEW.business_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'There is no buyer to book this for.' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER marketplace_move_balance AFTER INSERT ON marketplace_journalline
    FOR EACH ROW WHEN (NEW.account = 'buyer') EXECUTE FUNCTION marketplace_move_balance();

CREATE FUNCTION marketplace_guard_balance() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF pg_trigger_depth() < 2 THEN
        RAISE EXCEPTION 'A balance moves by journal entries only.' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER marketplace_guard_balance BEFORE UPDATE ON marketplace_buyer
    FOR EACH ROW WHEN (NEW.balance IS DISTINCT FROM OLD.balance) EXECUTE FUNCTION marketplace_guard_balance();
CREATE TRIGGER marketplace_new_buyer_balance BEFORE INSERT ON marketplace_buyer
    FOR EACH ROW WHEN (NEW.balance <> 0) EXECUTE FUNCTION marketplace_guard_balance();
"""
NO_BOOKS = """
DROP TRIGGER marketplace_new_buyer_balance ON marketplace_buyer;
DROP TRIGGER marketplace_guard_balance ON marketplace_buyer;
DROP FUNCTION marketplace_guard_balance();
DROP TRIGGER marketplace_move_balance ON marketplace_journalline;
DROP FUNCTION marketplace_move_balance();
DROP TRIGGER marketplace_entry_adds_up ON marketplace_journalline;
DROP FUNCTION marketplace_entry_adds_up();
"""

# How much is for sale is counted by the statement that changes it, whoever wrote that statement.
STOCK = """
CREATE FUNCTION marketplace_count_stock() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO marketplace_stock (classification, age_bucket, state, county, available)
        SELECT classification, age_bucket, state, county, count(*) FROM new_rows
        WHERE sold_at IS NULL AND closed_at IS NULL GROUP BY 1, 2, 3, 4;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO marketplace_stock (classification, age_bucket, state, county, available)
        SELECT classification, age_bucket, state, county, -count(*) FROM old_rows
        WHERE sold_at IS NULL AND closed_at IS NULL GROUP BY 1, 2, 3, 4;
    ELSE
        INSERT INTO marketplace_stock (classification, age_bucket, state, county, available)
        SELECT classification, age_bucket, state, county, sum(change) FROM (
            SELECT classification, age_bucket, state, county, 1 AS change FROM new_rows
            WHERE sold_at IS NULL AND closed_at IS NULL
            UNION ALL
            SELECT classification, age_bucket, state, county, -1 FROM old_rows
            WHERE sold_at IS NULL AND closed_at IS NULL
        ) AS changes GROUP BY 1, 2, 3, 4 HAVING sum(change) <> 0;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER marketplace_stock_in AFTER INSERT ON marketplace_inventoryitem
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION marketplace_count_stock();
CREATE TRIGGER marketplace_stock_out AFTER DELETE ON marketplace_inventoryitem
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION marketplace_count_stock();
CREATE TRIGGER marketplace_stock_moved AFTER UPDATE ON marketplace_inventoryitem
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION marketplace_count_stock();
"""
NO_STOCK = """
DROP TRIGGER marketplace_stock_in ON marketplace_inventoryitem;
DROP TRIGGER marketplace_stock_out ON marketplace_inventoryitem;
DROP TRIGGER marketplace_stock_moved ON marketplace_inventoryitem;
DROP FUNCTION marketplace_count_stock();
"""

# Without the btree_gist extension a range over text does not exist; ten cells have ten numbers.
_CELL = """(CASE classification WHEN 'Gold' THEN 0 ELSE 5 END + CASE age_bucket WHEN 'MONTH_3_TO_5' THEN 0
    WHEN 'MONTH_6_TO_8' THEN 1 WHEN 'MONTH_9_TO_11' THEN 2 WHEN 'MONTH_12_TO_23' THEN 3 ELSE 4 END)"""
ONE_PRICE = f"""
ALTER TABLE marketplace_pricingrule ADD CONSTRAINT one_price_at_a_time EXCLUDE USING gist (
    int4range({_CELL}, {_CELL}, '[]') WITH &&, tstzrange(effective_from, effective_to) WITH &&
);
"""

# Ids in the order of time, as `crm.keys` makes them (PostgreSQL has uuidv7() only since 18): rows that are sold together
# lie together.
UUID7 = """
CREATE FUNCTION marketplace_uuid7() RETURNS uuid LANGUAGE sql VOLATILE AS $$
    SELECT encode(set_bit(set_bit(overlay(
        uuid_send(gen_random_uuid())
        PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6
    ), 52, 1), 53, 1), 'hex')::uuid
$$;
"""

NUMBERS = """
CREATE SEQUENCE marketplace_purchase_number START 1001;
CREATE SEQUENCE marketplace_invoice_number START 1001;
"""


class Migration(migrations.Migration):
    dependencies = [("marketplace", "0001_initial"), ("crm", "0003_consent_revoked")]

    operations = [
        wall("marketplace_purchase", "quote_id", "marketplace_quote"),
        wall("marketplace_sale", "purchase_id", "marketplace_purchase"),
        wall("marketplace_return", "sale_id", "marketplace_sale"),
        wall("marketplace_return", "replacement_id", "marketplace_sale"),
        wall("marketplace_journalline", "entry_id", "marketplace_journalentry"),
        wall("marketplace_invoiceline", "invoice_id", "marketplace_invoice"),
        wall("marketplace_invoiceline", "entry_id", "marketplace_journalentry"),
        wall("marketplace_recallnotice", "sale_id", "marketplace_sale"),
        wall("marketplace_exportdownload", "export_id", "marketplace_export"),
        migrations.RunSQL(FIXED_FACTS, FREE_FACTS),
        migrations.RunSQL(APPEND_ONLY, NOT_APPEND_ONLY),
        migrations.RunSQL(BOOKS, NO_BOOKS),
        migrations.RunSQL(STOCK, NO_STOCK),
        migrations.RunSQL(ONE_PRICE, "ALTER TABLE marketplace_pricingrule DROP CONSTRAINT one_price_at_a_time;"),
        migrations.RunSQL(UUID7, "DROP FUNCTION marketplace_uuid7();"),
        migrations.RunSQL(
            NUMBERS, "DROP SEQUENCE marketplace_purchase_number; DROP SEQUENCE marketplace_invoice_number;"
        ),
    ]
