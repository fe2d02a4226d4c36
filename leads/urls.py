"""Today and the pipeline, under /app/. Comes last there: a bare slug is Today."""

from django.urls import path

from leads.views import board, deals, duplicates, lead, leads, learning, reports, today, ways

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
    path("<slug:slug>/deals/", deals.deals, name="deals"),
    path("<slug:slug>/deals/<int:number>/", deals.deal, name="deal"),
    path("<slug:slug>/deals/<int:number>/move/", deals.move, name="deal_move"),
    path("<slug:slug>/deals/<int:number>/accept/", deals.accept, name="deal_accept"),
    path("<slug:slug>/deals/<int:number>/decline/", deals.decline, name="deal_decline"),
    path("<slug:slug>/deals/<int:number>/give/", deals.give, name="deal_give"),
    path("<slug:slug>/deals/<int:number>/edit/", deals.edit, name="deal_edit"),
    path("<slug:slug>/leads/reports/", reports.reports, name="reports"),
    path("<slug:slug>/leads/ways/", ways.ways, name="ways"),
    path("<slug:slug>/leads/ways/times/", ways.times, name="ways_times"),
    path("<slug:slug>/leads/ways/salesperson/", ways.salesperson, name="ways_salesperson"),
    path("<slug:slug>/leads/ways/rule/", ways.rule, name="ways_rule"),
    path("<slug:slug>/leads/ways/rule/<uuid:pk>/move/", ways.move_rule, name="ways_rule_move"),
    path("<slug:slug>/leads/ways/rule/<uuid:pk>/delete/", ways.delete_rule, name="ways_rule_delete"),
    path("<slug:slug>/leads/duplicates/", duplicates.duplicates, name="duplicates"),
    path("<slug:slug>/leads/duplicates/merge/", duplicates.merge, name="merge"),
    path("<slug:slug>/leads/duplicates/<uuid:pk>/undo/", duplicates.merge_undo, name="merge_undo"),
]
