"""Deals, reports, set-up and duplicates: the half of the pipeline's addresses that comes after the leads themselves.
`leads.urls` takes them in, so their names are `leads:deals` and so on."""

from django.urls import path

from leads.views import deals, duplicates, reports, ways

urlpatterns = [
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
