"""Today and the pipeline, under /app/. Comes last there: a bare slug is Today."""

from django.urls import path

from leads import urls_sales
from leads.views import board, lead, leads, learning, today

app_name = "leads"
urlpatterns = [
    path("<slug:slug>/", today.today, name="today"),
    path("<slug:slug>/leads/", leads.leads, name="leads"),
    path("<slug:slug>/leads/board/", board.board, name="board"),
    path("<slug:slug>/leads/new/", lead.new, name="new"),
    path("<slug:slug>/leads/bulk/", leads.bulk, name="bulk"),
    path("<slug:slug>/leads/views/", leads.save_view, name="save_view"),
    path("<slug:slug>/leads/views/<uuid:pk>/delete/", leads.delete_view, name="delete_view"),
    path("<slug:slug>/leads/<int:number>/", lead.lead, name="lead"),
    path("<slug:slug>/leads/<int:number>/move/", lead.move, name="move"),
    path("<slug:slug>/leads/<int:number>/transfer/", lead.transfer, name="transfer"),
    path("<slug:slug>/leads/<int:number>/assess/", lead.assess, name="assess"),
    path("<slug:slug>/leads/<int:number>/activity/", lead.activity, name="activity"),
    path("<slug:slug>/leads/<int:number>/assign/", lead.assign, name="assign"),
    path("<slug:slug>/leads/<int:number>/edit/", lead.edit, name="edit"),
    path("<slug:slug>/leads/<int:number>/follow-up/", lead.follow_up, name="follow_up"),
    path("<slug:slug>/leads/learning/", learning.learning, name="learning"),
    *urls_sales.urlpatterns,
]
