"""From a knock to a booked job, by text."""

from booking.models import Appointment
from crm.models import Message
from crm.scoping import every_business
from telephony.gateways import simulated


def test_a_text_becomes_an_offer_and_a_one_becomes_a_job(cast):
    asked = simulated.text_us(from_number="+15551234567", to_number="+15552000001", body="need ac repair asap")
    assert asked.status == 200
    assert len(asked.replies) == 1
    assert asked.replies[0].startswith("Alice Plumbing can do AC Repair ")

    said = simulated.text_us(from_number="+15551234567", to_number="+15552000001", body="1")

    assert said.replies[0].startswith("Confirmed! Your AC Repair with Alice Plumbing is booked for ")
    with every_business():
        appointment = Appointment.objects.get()
        assert (appointment.business, appointment.status) == (cast.shop, "SCHEDULED")
        alert = Message.objects.get(audience="owner")
        assert alert.to_number == "+15552009001"
        assert alert.body.startswith("New job: AC Repair, (555) 123-4567, ")
