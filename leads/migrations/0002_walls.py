from django.db import migrations

from crm.scoping import wall


class Migration(migrations.Migration):
    dependencies = [("leads", "0001_initial"), ("booking", "0003_walls")]

    operations = [
        wall("leads_lead", "customer_id", "crm_customer"),
        wall("leads_lead", "service_id", "booking_service"),
        wall("leads_lead", "appointment_id", "booking_appointment"),
        wall("leads_proposal", "lead_id", "leads_lead"),
        wall("leads_proposal", "customer_id", "crm_customer"),
        wall("leads_proposal", "appointment_id", "booking_appointment"),
    ]
