"""Two short middlewares: one refuses what no text column can hold, one opens the staff console to every business."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from crm.scoping import every_business

Handler = Callable[[HttpRequest], HttpResponse]


def plain_text_only(get_response: Handler) -> Handler:
    """A NUL byte in an address or a query is nobody's search; Postgres would refuse it in the middle of a page."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if "\x00" in request.path or "%00" in request.META.get("QUERY_STRING", ""):
            return HttpResponse(
                "This address holds a character that cannot be read.", status=400, content_type="text/plain"
            )
        return get_response(request)

    return middleware


def staff_see_every_business(get_response: Handler) -> Handler:
    """Staff look after all businesses, so the alarm is off inside the console (and only there)."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if not request.path.startswith("/admin/"):
            return get_response(request)
        with every_business():
            response = get_response(request)
            # Admin pages are TemplateResponses; their querysets must be read before the scope closes again.
            if hasattr(response, "render") and not getattr(response, "is_rendered", True):
                response.render()
            return response

    return middleware
