"""The front door and the ground floor's rooms, under /app/. A slug never begins with "-"."""

from django.urls import path

from crm.views import customers, front, inbox, tasks

app_name = "crm"
urlpatterns = [
    path("", front.home, name="home"),
    path("-/theme/", front.theme, name="theme"),
    path("<slug:slug>/open/<slug:kind>/<uuid:pk>/", front.open_about, name="open"),
    path("<slug:slug>/inbox/", inbox.inbox, name="inbox"),
    path("<slug:slug>/inbox/<uuid:pk>/", inbox.show_thread, name="thread"),
    path("<slug:slug>/inbox/<uuid:pk>/news/", inbox.news, name="news"),
    path("<slug:slug>/inbox/<uuid:pk>/plan/", inbox.plan, name="plan"),
    path("<slug:slug>/inbox/<uuid:pk>/reply/", inbox.reply, name="reply"),
    path("<slug:slug>/inbox/<uuid:pk>/again/<uuid:message_pk>/", inbox.send_again, name="send_again"),
    path("<slug:slug>/inbox/<uuid:pk>/take-over/", inbox.take_over, name="take_over"),
    path("<slug:slug>/inbox/<uuid:pk>/hand-back/", inbox.hand_back, name="hand_back"),
    path("<slug:slug>/inbox/<uuid:pk>/answered/", inbox.mark_answered, name="mark_answered"),
    path("<slug:slug>/customers/", customers.customers, name="customers"),
    path("<slug:slug>/customers/new/", customers.add, name="add_customer"),
    path("<slug:slug>/customers/<uuid:pk>/", customers.customer, name="customer"),
    path("<slug:slug>/customers/<uuid:pk>/edit/", customers.edit, name="edit_customer"),
    path("<slug:slug>/customers/<uuid:pk>/text/", customers.text, name="text_customer"),
    path("<slug:slug>/customers/<uuid:pk>/opt-out/", customers.opt_out, name="opt_out"),
    path("<slug:slug>/customers/<uuid:pk>/merge/", customers.merge, name="merge"),
    path("<slug:slug>/merges/<uuid:pk>/undo/", customers.undo_merge, name="undo_merge"),
    path("<slug:slug>/tasks/<uuid:pk>/done/", tasks.done, name="task_done"),
    path("<slug:slug>/tasks/<uuid:pk>/reopen/", tasks.reopen, name="task_reopen"),
]
