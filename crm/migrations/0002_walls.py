from django.db import migrations

from crm.scoping import wall

# The ledger is evidence: a line that was written stays as it was written.
APPEND_ONLY = """
CREATE FUNCTION crm_consent_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'The consent ledger is append-only: add a line instead.' USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER crm_consent_append_only BEFORE UPDATE OR DELETE ON crm_consent
    FOR EACH ROW EXECUTE FUNCTION crm_consent_is_append_only();
"""
NO_LONGER = "DROP TRIGGER crm_consent_append_only ON crm_consent; DROP FUNCTION crm_consent_is_append_only();"


class Migration(migrations.Migration):
    dependencies = [("crm", "0001_initial")]

    operations = [
        wall("crm_customer", "merged_into_id", "crm_customer"),
        wall("crm_customermerge", "kept_id", "crm_customer"),
        wall("crm_customermerge", "dropped_id", "crm_customer"),
        wall("crm_conversation", "customer_id", "crm_customer"),
        wall("crm_message", "conversation_id", "crm_conversation"),
        wall("crm_message", "customer_id", "crm_customer"),
        wall("crm_activity", "customer_id", "crm_customer"),
        wall("crm_task", "customer_id", "crm_customer"),
        migrations.RunSQL(APPEND_ONLY, NO_LONGER),
    ]
