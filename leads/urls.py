"""Today and Leads, under /app/. Comes last there: a bare slug is Today."""

from django.urls import path

from leads.views import today as views

app_name = "leads"
urlpatterns = [
    path("<slug:slug>/", views.today, name="today"),
    path("<slug:slug>/leads/", views.leads, name="leads"),
]
