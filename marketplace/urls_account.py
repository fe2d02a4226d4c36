"""A buyer's account and what it is told, under /app/<slug>/buy/. Part of `marketplace.urls`, and of its namespace."""

from django.urls import URLPattern, path

from marketplace.views import account

urlpatterns: list[URLPattern] = [
    path("<slug:slug>/buy/ask/", account.ask, name="ask"),
    path("<slug:slug>/buy/account/", account.overview, name="account"),
    path("<slug:slug>/buy/account/settings/", account.change, name="account_settings"),
    path("<slug:slug>/buy/account/confirm/", account.send_link, name="send_link"),
    path("<slug:slug>/buy/account/invoices/", account.invoices, name="invoices"),
    path("<slug:slug>/buy/account/invoices/<uuid:invoice>/", account.invoice, name="invoice"),
    path("<slug:slug>/buy/account/invoices/<uuid:invoice>/pdf/", account.invoice_pdf, name="invoice_pdf"),
    path("<slug:slug>/buy/account/invoices/<uuid:invoice>/csv/", account.invoice_csv, name="invoice_csv"),
    path("<slug:slug>/buy/account/known/", account.known_people, name="known"),
    path("<slug:slug>/buy/account/known/upload/", account.upload_known, name="upload_known"),
    path("<slug:slug>/buy/account/known/clear/", account.clear_known, name="clear_known"),
    path("<slug:slug>/buy/account/webhook/", account.webhook, name="webhook"),
    path("<slug:slug>/buy/account/webhook/set/", account.set_webhook, name="set_webhook"),
    path("<slug:slug>/buy/account/webhook/remove/", account.remove_webhook, name="remove_webhook"),
    path("<slug:slug>/buy/account/webhook/try/", account.try_webhook, name="try_webhook"),
    path("<slug:slug>/buy/account/webhook/<uuid:delivery>/again/", account.send_again, name="send_again"),
    path("<slug:slug>/buy/recalls/", account.recalled, name="recalls"),
    path("<slug:slug>/buy/recalls/heard/", account.heard, name="heard"),
    path("<slug:slug>/buy/recalls/list/", account.recalls_csv, name="recalls_csv"),
]
