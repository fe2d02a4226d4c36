"""What people text. Every opening is understood by the receptionist's rules as the service it stands under."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

OPENINGS: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "t_acme": {
        "AC Repair": (
            "Hi, our AC is blowing warm air. Can someone come out?",
            "need ac repair, upstairs is 84 degrees",
            "The air conditioner is leaking water on the basement floor",
            "ac makes a loud rattle when it starts, can you take a look?",
        ),
        "HVAC": (
            "Furnace keeps shutting off after a few minutes",
            "Our heat pump is icing up, can you send somebody?",
            "Thermostat is blank and the house is cold",
            "Could I get the boiler looked at before it gets really cold?",
        ),
        "Plumbing": (
            "Kitchen faucet won't stop dripping, need a plumber",
            "Clogged drain in the laundry room again",
            "there is a leak under the bathroom sink",
        ),
        "Electrical": (
            "Two outlets in the kitchen are dead",
            "The breaker for the dryer trips every time",
            "Need an electrician for a light switch that buzzes",
        ),
        "Installation": (
            "Looking to install a mini split in the sunroom",
            "We want a new unit installed before summer, can you quote?",
        ),
    },
    "bristol": {
        "Tankless Water Heater": (
            "We would like to switch to a tankless water heater",
            "What would a tankless heater cost for a 4 bedroom house? Can you come look?",
        ),
        "Water Heater": (
            "Water heater is leaking from the bottom",
            "no hot water since this morning",
            "Our hot water tank is 15 years old, time for a new one",
        ),
        "Drain and Sewer": (
            "Kitchen drain is backed up",
            "Slow drain in both bathrooms",
            "sewer smell in the basement, can you check the line?",
            "The toilet and tub are backed up at the same time. Main drain?",
        ),
        "Sump Pump": (
            "Sump pump runs all the time, please take a look",
            "Need the sump checked before the rain this weekend",
        ),
        "Fixtures and Leaks": (
            "Upstairs toilet keeps running",
            "Leaky faucet in the guest bath, driving us crazy",
            "Shower is dripping all night",
            "New faucet arrived, can you put it in?",
        ),
        "Gas Line": ("Need a gas line run to the new range", "Can you move the gas pipe for our dryer?"),
        "General Plumbing": (
            "Garbage disposal is jammed, can a plumber come by?",
            "Outdoor hose bib is frozen shut",
            "Need a plumber to look at low water pressure",
        ),
    },
    "nextgen": {
        "Laser Hair Reduction": (
            "Hi! I'd like to book laser hair removal",
            "Can I schedule my next laser hair session?",
        ),
        "Carbon Laser Facial": ("Do you have an opening for a carbon facial?",),
        "IPL Treatments": (
            "I'd like to book IPL for sun spots",
            "Time for my second ipl appointment, what do you have?",
        ),
        "Pico Laser Facial": ("Interested in the pico laser, when could I come in?",),
        "Morpheus8 RF Microneedling": ("Hi, could I book Morpheus8?", "Looking for a microneedling appointment"),
        "HydraFacial": (
            "Can I get in for a HydraFacial this week?",
            "hydrafacial before my sister's wedding please!",
            "I'd love a hydra facial, any evening is good",
        ),
        "Glo2Facial by Geneo": ("Do you have time for a Glo2Facial?",),
        "Chemical Peels": ("I want to try a chemical peel", "Booking my next peel, mornings are best"),
        "Dermaplane": ("Could I book dermaplaning?",),
        "Body Scrubs": ("A body scrub for me and my mom, is that possible?",),
        "Waxing Services": ("Brow wax please, any day", "Need a waxing appointment"),
        "NeveSkin Body Contouring": ("I'd like to start body contouring",),
        "Consultations": ("Hi, I'm new. Can I book a consultation?", "I'd like a consult about my skin"),
    },
}
# Two turns each: what the customer asks when the date is set, what a person of the team answers.
QUESTIONS: Final = (
    ("Can you call when you are on the way?", "Sure, you will get a call about 20 minutes before."),
    ("Do I have to be home the whole time?", "Only to let us in and at the end. Somebody over 18 is fine."),
    ("Do you take cards?", "Yes, card, check or cash, whatever is easiest."),
    (
        "The gate code is 4417, please close it behind you, we have a dog",
        "Thank you, noted on the job. The dog is safe.",
    ),
)
SPA_QUESTIONS: Final = (
    ("Should I stop my retinol before?", "Please leave it out for five days before. See you then!"),
    ("Is parking hard to find?", "There are free spots right behind the building."),
    ("Can I bring my daughter? She is 8", "Of course, she can wait with us at the front."),
    ("I may be 10 minutes late", "That is fine, we keep your place for 15 minutes."),
)
THANKS: Final = (
    ("Thanks, works like new!", "Glad to hear it. Call us any time."),
    ("Great work today, very tidy. Thank you", "That is kind of you, we will pass it on!"),
    ("All good so far, thanks for coming so fast", "Happy to help. Enjoy the quiet!"),
)
SPA_THANKS: Final = (
    ("My skin looks amazing, thank you!!", "You made our day. See you next time!"),
    ("Loved it. Can't wait for the next one", "So happy to hear that. Take care until then!"),
)
CANCELLED_BECAUSE: Final = (
    "Sorry, please cancel my appointment, I have to travel",
    "cancel my appointment please, my brother fixed it",
)
SPA_CANCELLED_BECAUSE: Final = (
    "Please cancel my appointment, I caught a cold",
    "I have to cancel my appointment, work came up",
)
PASSED_BECAUSE: Final = ("3", "no thanks", "Never mind")
NOTES: Final = (
    "Prefers mornings.",
    "Dog in the yard, friendly.",
    "Park on the street, the driveway is steep.",
    "Hard of hearing: texts are better than calls.",
)
TAGS: Final = ("regular", "referred a friend", "rental owner")
