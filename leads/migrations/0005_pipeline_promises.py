from django.db import migrations

from crm.scoping import wall

# How a lead moved and what it was worth are evidence: a row that was written stays as it was written.
_WRITTEN_ONCE = ("leads_stagechange", "leads_assessment")
APPEND_ONLY = """
CREATE FUNCTION leads_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: add a row instead.', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation';
END $$;
""" + "".join(
    f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table}"
    " FOR EACH ROW EXECUTE FUNCTION leads_is_append_only();\n"
    for table in _WRITTEN_ONCE
)
NOT_APPEND_ONLY = (
    "".join(f"DROP TRIGGER {table}_append_only ON {table};\n" for table in _WRITTEN_ONCE)
    + "DROP FUNCTION leads_is_append_only();"
)

# A lead is transferred together with its deal or not at all, whoever writes the rows; looked at when the transaction ends.
TRANSFER = """
CREATE FUNCTION leads_transferred_has_a_deal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM leads_deal WHERE lead_id = NEW.id) THEN
        RAISE EXCEPTION 'A transferred lead has a deal.' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER leads_transferred_has_a_deal AFTER INSERT OR UPDATE OF stage ON leads_lead
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.stage = 'transferred')
    EXECUTE FUNCTION leads_transferred_has_a_deal();

CREATE FUNCTION leads_stage_moves_forward() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.stage, NEW.stage) NOT IN (
        ('new', 'contacted'), ('contacted', 'qualified'), ('qualified', 'transferred'),
        ('new', 'lost'), ('contacted', 'lost'), ('qualified', 'lost')
    ) THEN
        RAISE EXCEPTION 'A lead does not go from % to %.', OLD.stage, NEW.stage USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER leads_stage_moves_forward BEFORE UPDATE OF stage ON leads_lead
    FOR EACH ROW WHEN (NEW.stage <> OLD.stage) EXECUTE FUNCTION leads_stage_moves_forward();
"""
NO_TRANSFER = """
DROP TRIGGER leads_stage_moves_forward ON leads_lead;
DROP FUNCTION leads_stage_moves_forward();
DROP TRIGGER leads_transferred_has_a_deal ON leads_lead;
DROP FUNCTION leads_transferred_has_a_deal();
"""

# Leads that are here already: what was said about them is counted, whoever had an answer counts as contacted, whose job is
# done as won. Nobody is told that an old one waits, and they are scored in the course of a day, so that new ones are not
# kept waiting. One statement, so that each row is written once.
START = """
WITH said AS (
    SELECT l.id, count(*) AS count, max(m.created_at) AS newest FROM leads_lead l JOIN crm_message m
    ON m.customer_id = l.customer_id AND m.created_at >= l.created_at - interval '5 seconds' AND m.audience = 'customer'
    AND m.author <> 'system' AND m.status NOT IN ('failed', 'refused') GROUP BY l.id
), known AS (
    SELECT l.id, coalesce(said.count, 0) AS count, said.newest, a.ends_at AS done_at FROM leads_lead l
    LEFT JOIN said ON said.id = l.id
    LEFT JOIN booking_appointment a ON a.id = l.appointment_id AND a.status = 'COMPLETED'
)
UPDATE leads_lead l SET activity_count = known.count, last_activity_at = known.newest, late_told_at = now(),
    stage = CASE WHEN l.first_touch_at IS NULL THEN 'new' ELSE 'contacted' END, stage_since = l.first_touch_at,
    outcome = CASE WHEN known.done_at IS NULL THEN '' ELSE 'won' END, closed_at = known.done_at,
    rescore_at = CASE WHEN known.done_at IS NULL THEN now() + random() * interval '1 day' END
    FROM known WHERE known.id = l.id;
INSERT INTO leads_stagechange (id, business_id, lead_id, is_deal, old, new, since, at, by_text, why)
    SELECT gen_random_uuid(), business_id, id, false, 'new', 'contacted', created_at, first_touch_at, 'Frontdesk',
    'The first answer went out' FROM leads_lead WHERE first_touch_at IS NOT NULL;
"""


class Migration(migrations.Migration):
    dependencies = [("leads", "0004_pipeline")]

    operations = [
        wall("leads_lead", "merged_into_id", "leads_lead"),
        wall("leads_stagechange", "lead_id", "leads_lead"),
        wall("leads_leadactivity", "lead_id", "leads_lead"),
        wall("leads_assessment", "lead_id", "leads_lead"),
        wall("leads_deal", "lead_id", "leads_lead"),
        wall("leads_deal", "assessment_id", "leads_assessment"),
        wall("leads_dealoffer", "deal_id", "leads_deal"),
        wall("leads_dealoffer", "salesperson_id", "leads_salesperson"),
        wall("leads_leadmerge", "kept_id", "leads_lead"),
        wall("leads_leadmerge", "dropped_id", "leads_lead"),
        wall("leads_leadmerge", "customers_id", "crm_customermerge"),
        wall("leads_assignmentrule", "service_id", "booking_service"),
        migrations.RunSQL(APPEND_ONLY, NOT_APPEND_ONLY),
        migrations.RunSQL(TRANSFER, NO_TRANSFER),
        migrations.RunSQL(START, migrations.RunSQL.noop),  # last: a table with checks still to come cannot be altered
    ]
