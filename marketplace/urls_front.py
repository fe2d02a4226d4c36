"""The street side of the marketplace: opening an account, for people who have none."""

from django.urls import path

from marketplace.views import front

app_name = "buyers"
urlpatterns = [
    path("sign-up/", front.sign_up, name="sign-up"),
    path("sent/", front.sent, name="sent"),
    path("verify/<str:token>/", front.verify, name="verify"),
]
