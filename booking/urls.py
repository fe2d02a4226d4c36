"""The calendar's rooms, under /app/."""

from django.urls import path

from booking import views

app_name = "booking"
urlpatterns = [
    path("<slug:slug>/calendar/", views.week, name="calendar"),
    path("<slug:slug>/calendar/new/", views.new, name="new"),
    path("<slug:slug>/calendar/<uuid:pk>/", views.appointment, name="appointment"),
    path("<slug:slug>/calendar/<uuid:pk>/confirm/", views.confirm, name="confirm"),
    path("<slug:slug>/calendar/<uuid:pk>/move/", views.move, name="move"),
    path("<slug:slug>/calendar/<uuid:pk>/cancel/", views.cancel, name="cancel"),
    path("<slug:slug>/calendar/<uuid:pk>/undo/", views.undo_cancel, name="undo_cancel"),
    path("<slug:slug>/calendar/<uuid:pk>/complete/", views.complete, name="complete"),
    path("<slug:slug>/calendar/<uuid:pk>/no-show/", views.no_show, name="no_show"),
    path("<slug:slug>/settings/", views.settings, name="settings"),
]
