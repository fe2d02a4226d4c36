from django.db import migrations

from crm.scoping import wall


class Migration(migrations.Migration):
    dependencies = [("booking", "0002_initial"), ("crm", "0002_walls")]

    operations = [
        wall("booking_weeklyhours", "staff_id", "booking_staffmember"),
        wall("booking_timeoff", "staff_id", "booking_staffmember"),
        wall("booking_appointment", "customer_id", "crm_customer"),
        wall("booking_appointment", "staff_id", "booking_staffmember"),
        wall("booking_appointment", "service_id", "booking_service"),
    ]
