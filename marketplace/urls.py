"""Buy leads, under /app/<slug>/buy/."""

from django.urls import path

from marketplace import urls_account
from marketplace.views import orders, shop

app_name = "marketplace"
urlpatterns = [
    path("<slug:slug>/buy/", shop.browse, name="browse"),
    path("<slug:slug>/buy/counts/", shop.counts, name="counts"),
    path("<slug:slug>/buy/cart/", shop.show_cart, name="cart"),
    path("<slug:slug>/buy/cart/add/", shop.add_line, name="add_line"),
    path("<slug:slug>/buy/cart/change/", shop.change_line, name="change_line"),
    path("<slug:slug>/buy/cart/renew/", shop.renew, name="renew"),
    path("<slug:slug>/buy/checkout/", shop.checkout, name="checkout"),
    path("<slug:slug>/buy/purchases/", orders.purchases, name="purchases"),
    path("<slug:slug>/buy/purchases/<uuid:purchase>/", orders.purchase, name="purchase"),
    path("<slug:slug>/buy/purchases/<uuid:purchase>/download/", orders.download, name="download"),
    path("<slug:slug>/buy/files/<uuid:export>/", orders.export, name="export"),
    path("<slug:slug>/buy/files/<uuid:export>/take/", orders.take_file, name="take_file"),
    path("<slug:slug>/buy/returns/", orders.returns, name="returns"),
    path("<slug:slug>/buy/returns/<uuid:sale>/", orders.show_return, name="return"),
    path("<slug:slug>/buy/returns/<uuid:sale>/ask/", orders.ask_return, name="ask_return"),
    *urls_account.urlpatterns,
]
