"""Buying leads by API: look, quote, buy, take away, give back, and hear of those who are called back.

The key says who buys. What is unknown and what is somebody else's look alike. What becomes of an order is said with 200
and `success`, only a shortage by criteria with 409; a body we cannot use is 4xx, naming the field. An Idempotency-Key is
used up by a purchase, never by a refusal: whoever was short of leads or money sends the same request again.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import IO, Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import FileResponse, HttpResponseBase, StreamingHttpResponse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import NotFound, ParseError, PermissionDenied
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from crm.api_auth import HasApiKey
from crm.api_body import JsonBody
from crm.api_errors import PROBLEM_JSON, Conflict, Gone, Unprocessable
from crm.api_fields import active
from crm.idempotency import IdempotentPosts
from crm.models import ApiKey, Business
from crm.scoping import only
from crm.security import sender
from crm.services import Refused
from marketplace import allocation, pricing, queries
from marketplace.asking import (
    FileQuery,
    NoticeQuery,
    PageQuery,
    Row,
    SinceQuery,
    pack,
    page_answer,
    read_criteria,
    read_filter,
    read_id,
    read_notices,
    read_page,
    read_profile,
    read_sale_ids,
)
from marketplace.enums import BuyerStatus, ExportProfile, ExportStatus, ReturnReason
from marketplace.models import Buyer, Export, Purchase, Quote, Return, Sale
from marketplace.serializers import (
    AccountOut,
    AcknowledgedOut,
    AcknowledgeIn,
    BoughtOut,
    CriteriaPurchaseIn,
    ExportIn,
    ExportOut,
    InventoryOut,
    KnownPhonesIn,
    LocationsOut,
    NewWebhookOut,
    NoticesOut,
    PurchaseDetailOut,
    PurchaseIn,
    PurchasesOut,
    QuoteIn,
    QuoteOut,
    ReturnIn,
    ReturnOut,
    ReturnsOut,
    ShortageProblemOut,
    UploadedOut,
    WebhookIn,
    WebhookOut,
    account_answer,
    alternative_answer,
    check_client,
    export_answer,
    listed_answer,
    notice_answer,
    purchase_answer,
    quote_answer,
    return_answer,
    sale_answer,
    say,
)
from marketplace.services import exports, known, purchases, recalls, returns, webhooks
from marketplace.services.purchases import Bought, CannotBuy, NotForSale, Short
from marketplace.writers import NO_TEXTING_CONSENT

NO_BUYER = "This business does not buy leads yet. Its owner can ask for access under Buy leads in Frontdesk."
CLOSED = "This buyer's account is closed. Files, returns and recalls of what was bought stay open."

CLIENT_ID = OpenApiParameter("client_id", str, description="Your own UUID or short name; the key says it already.")


def _path_id(name: str) -> OpenApiParameter:
    return OpenApiParameter(name, OpenApiTypes.UUID, OpenApiParameter.PATH)


# --- Who asks ------------------------------------------------------------------------------------------------------------


def the_buyer(business: Business) -> Buyer:
    """Raises PermissionDenied, with what to do."""
    active(business)
    buyer = Buyer.objects.filter(pk=business.pk).first()
    if buyer is None:
        raise PermissionDenied(NO_BUYER)
    buyer.business = business
    return buyer


class ClientView(APIView):
    """Base: `business` is the key's. A `client_id` in the query is checked here, one in the body by its serializer."""

    permission_classes = [HasApiKey]
    business: Business

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        assert isinstance(request.auth, ApiKey)
        assert request.auth.business is not None
        self.business = request.auth.business
        if client_id := request.query_params.get("client_id", "").strip():
            try:
                check_client(self.business, client_id)
            except serializers.ValidationError as error:
                raise serializers.ValidationError({"client_id": error.detail}) from error

    @property
    def by(self) -> str:
        """Who did it, as it is written down: the readable beginning of the key."""
        key = self.request.auth
        assert isinstance(key, ApiKey)
        return key.prefix

    def page(self, rows: QuerySet[Row], *, by: str, answer: Callable[[Row], Mapping[str, Any]]) -> dict[str, Any]:
        """The page that was asked for. Raises ValidationError."""
        return page_answer(rows, read_page(self.request.query_params), by=by, answer=answer)

    def purchase(self, pk: UUID) -> Purchase:
        """One of theirs. Raises NotFound; needs to be inside the business."""
        found: Purchase = _there(Purchase.objects.for_business(self.business).filter(pk=pk).first(), "purchase")
        return found

    def body(self, of: type[serializers.Serializer[Any]]) -> dict[str, Any]:
        """The validated body. Raises ValidationError, and PermissionDenied for another's client_id."""
        asked = of(data=self.request.data, context={"business": self.business})
        asked.is_valid(raise_exception=True)
        return asked.validated_data


class BuyerView(ClientView):
    """Base of what every buyer may do, of whatever standing; `buyer` is their row."""

    buyer: Buyer

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        self.buyer = the_buyer(self.business)


class ShopView(BuyerView):
    """Base of looking at what is for sale: closed to buyers who closed their account."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if self.buyer.status == BuyerStatus.CLOSED:
            raise PermissionDenied(CLOSED)


# --- Looking -------------------------------------------------------------------------------------------------------------


class InventoryView(ShopView):
    """What is for sale to you, the oldest leads first. Whom you have, bought or on your own list, is left out."""

    refusals = (400,)

    @extend_schema(
        responses=InventoryOut,
        parameters=[
            OpenApiParameter("state", str, many=True, description="Postal codes in any case; several with commas."),
            OpenApiParameter("classification", str, many=True, description="Gold or Silver."),
            OpenApiParameter("age_bucket", str, many=True, description="Like MONTH_6_TO_8; several with commas."),
            OpenApiParameter(
                "county",
                str,
                many=True,
                description="As /inventory/locations spells it. Repeat the parameter for several: a comma belongs to the"
                " name.",
            ),
            PageQuery,
            CLIENT_ID,
        ],
    )
    def get(self, request: Request) -> Response:
        wanted, applied = read_filter(request.query_params)
        page = read_page(request.query_params)
        listing = queries.browse(
            self.business, wanted, now=timezone.now(), limit=page.limit, offset=page.offset,
            after=page.after,
        )  # fmt: skip
        return Response(
            {
                "items": [listed_answer(item) for item in listing.items],
                "total": listing.total,
                "total_count": listing.total,
                "total_is_exact": listing.is_exact,
                "filters_applied": applied,
                "next": pack(listing.after),
                "currency": pricing.CURRENCY,
            }
        )


class LocationsView(ShopView):
    """Where something is for sale: states and their counties, in alphabetical order."""

    @extend_schema(responses=LocationsOut, parameters=[CLIENT_ID])
    def get(self, request: Request) -> Response:
        found = queries.locations(now=timezone.now())
        return Response({"states": list(found), "counties_by_state": found})


class QuotesView(IdempotentPosts, ShopView):
    """Prices that stand for 15 minutes, for very leads or for so many of a kind. It holds no leads."""

    refusals = (404, 409)

    @extend_schema(request=QuoteIn, responses=QuoteOut)
    def post(self, request: Request) -> Response:
        fields, now = self.body(QuoteIn), timezone.now()
        try:
            with only(self.business):
                if (item_ids := fields.get("inventory_item_ids")) is not None:
                    quote = purchases.quote_items(business=self.business, item_ids=item_ids, now=now)
                else:
                    criteria = read_criteria(fields["criteria"])
                    quote = purchases.quote_criteria(business=self.business, criteria=criteria, now=now)
        except NotForSale as refusal:
            raise NotFound(str(refusal)) from refusal
        except pricing.NoPrice as refusal:
            raise Conflict(str(refusal)) from refusal
        return Response(quote_answer(quote))


class QuoteView(ShopView):
    """A quote of yours."""

    refusals = (404,)

    @extend_schema(responses=QuoteOut, parameters=[_path_id("quote_id"), CLIENT_ID])
    def get(self, request: Request, quote_id: str) -> Response:
        with only(self.business):
            quote = Quote.objects.for_business(self.business).filter(pk=_id(quote_id, "quote")).first()
        return Response(quote_answer(_there(quote, "quote")))


# --- Buying --------------------------------------------------------------------------------------------------------------


class NotBought(Exception):
    """An order that was not filled. It is raised, so that its Idempotency-Key is free again, and answered with 200."""

    def __init__(self, *reasons: str, requested: int) -> None:
        super().__init__(" ".join(reasons))
        self.answer = _bought_answer(requested=requested) | {
            "errors": list(reasons),
            "message": f"Purchase failed. {' '.join(reasons)}",
        }


class InsufficientInventory(Conflict):
    """The documented body of a shortage: its `detail` is an object."""

    def __init__(self, short: Short) -> None:
        super().__init__(str(short))
        self.members = {
            "detail": {
                "error": "insufficient_inventory",
                "requested": short.criterion.quantity,
                "available": short.available,
                "criteria": str(short.criterion),
                "item_index": short.index,
                "is_multi_item": short.index is not None,
                "alternatives": [alternative_answer(other) for other in short.alternatives],
            }
        }


BOUGHT_OR_SHORT: Any = {200: BoughtOut, (409, PROBLEM_JSON): OpenApiResponse(ShortageProblemOut, "Conflict")}


class BuyingView(IdempotentPosts, ClientView):
    """Base of orders: filled whole or not at all. Whoever may not buy is told so in the answer."""

    def handle_exception(self, exc: Exception) -> Response:
        return Response(exc.answer) if isinstance(exc, NotBought) else super().handle_exception(exc)

    def buy(self, order: Callable[[], Bought], *, requested: int) -> Response:
        try:
            with only(self.business):
                bought = order()
        except CannotBuy as refusal:
            raise NotBought(*refusal.reasons, requested=requested) from refusal
        except Short as short:
            raise InsufficientInventory(short) from short
        return Response(_bought_answer(requested=requested, bought=bought))


class PurchasesView(BuyingView):
    """Buy these very leads, or what was quoted. A lead that has gone meanwhile is replaced by its like."""

    @extend_schema(request=PurchaseIn, responses=BOUGHT_OR_SHORT)
    def post(self, request: Request) -> Response:
        fields, now = self.body(PurchaseIn), timezone.now()
        if (item_ids := fields.get("inventory_item_ids")) is not None:
            return self.buy(
                lambda: purchases.buy_items(business=self.business, item_ids=item_ids, by=self.by, now=now),
                requested=len(item_ids),
            )
        with only(self.business):
            quote = Quote.objects.for_business(self.business).filter(pk=fields["quote_id"]).first()
        return self.buy(
            lambda: purchases.buy_quote(business=self.business, quote_id=fields["quote_id"], by=self.by, now=now),
            requested=quote.total_items if quote else 0,
        )

    @extend_schema(operation_id="purchases_list", responses=PurchasesOut, parameters=[PageQuery, CLIENT_ID])
    def get(self, request: Request) -> Response:
        """What you bought, the newest first."""
        the_buyer(self.business)
        with only(self.business):
            rows = Purchase.objects.for_business(self.business)
            return Response(self.page(rows, by="-created_at", answer=purchase_answer))


class CriteriaPurchaseView(BuyingView):
    """Buy so many leads of these kinds, the oldest first. Short of one, nothing is bought, and the answer says what there
    is instead."""

    @extend_schema(request=CriteriaPurchaseIn, responses=BOUGHT_OR_SHORT)
    def post(self, request: Request) -> Response:
        criteria, now = read_criteria(self.body(CriteriaPurchaseIn)["criteria"]), timezone.now()
        return self.buy(
            lambda: purchases.buy_by_criteria(business=self.business, criteria=criteria, by=self.by, now=now),
            requested=sum(wanted.quantity for wanted in criteria),
        )


class PurchaseView(BuyerView):
    """A purchase of yours, with its leads in pages. Who they are stands in the files."""

    refusals = (404,)

    @extend_schema(responses=PurchaseDetailOut, parameters=[_path_id("purchase_id"), PageQuery, CLIENT_ID])
    def get(self, request: Request, purchase_id: str) -> Response:
        with only(self.business):
            purchase = self.purchase(_id(purchase_id, "purchase"))
            sales = Sale.objects.for_business(self.business).filter(purchase=purchase).prefetch_related("returns")
            return Response(purchase_answer(purchase) | self.page(sales, by="sold_at", answer=sale_answer))


# --- Files ---------------------------------------------------------------------------------------------------------------


class AnyAccept(DefaultContentNegotiation):
    """Answers with a file whatever `Accept` says, and leaves `format` to the view."""

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        json = next(iter(renderers))  # for what is no file: a status, a problem
        return json, json.media_type


FILE: Any = {
    (200, "text/csv"): OpenApiTypes.BINARY,
    (200, exports.CONTENT_TYPE[ExportProfile.XLSX]): OpenApiTypes.BINARY,
    (202, "application/json"): OpenApiResponse(ExportOut, "Still being made; come back to `url`."),
}


class FileView(BuyerView):
    """Base of handing out a file. Every time is written down."""

    content_negotiation_class = AnyAccept

    def hand_out(self, export: Export) -> HttpResponseBase:
        if export.status == ExportStatus.BUILDING:
            return Response(self.shown(export), status=202, headers={"Retry-After": "10"})
        try:
            file = exports.opened(
                export=export, by=self.by, request_sender=sender(self.request._request), now=timezone.now()
            )
        except exports.NotReady as refusal:
            raise (Gone if refusal.status == ExportStatus.VOIDED else Conflict)(str(refusal)) from refusal
        profile = ExportProfile(export.profile)
        response = FileResponse(file, content_type=exports.CONTENT_TYPE[profile])
        digest = base64.b64encode(bytes.fromhex(export.sha256)).decode()
        for name, value in {
            "Content-Disposition": f"attachment; filename=purchased_leads{exports.SUFFIX[profile]}",
            "Repr-Digest": f"sha-256=:{digest}:",
            "ETag": f'"{export.sha256}"',
            "Cache-Control": "private, no-store",
            "Frontdesk-Notice": NO_TEXTING_CONSENT,
        }.items():
            response[name] = value
        return response

    def shown(self, export: Export) -> dict[str, Any]:
        return export_answer(export, url=self.request.build_absolute_uri(f"/api/v1/exports/{export.pk}"))


class DownloadView(FileView):
    """The bought leads as a file: the sales that are named, in this order, or all of one purchase.

    The same question gets the same bytes. The `Frontdesk-Notice` header says what these leads do not bring with them.
    """

    refusals = (400, 404, 409, 410)

    @extend_schema(
        responses=FILE,
        parameters=[
            OpenApiParameter("sale_ids", str, many=True, description="UUIDs, with commas between them."),
            OpenApiParameter("purchase_id", OpenApiTypes.UUID, description="Instead of sale_ids."),
            FileQuery,
            CLIENT_ID,
        ],
    )
    def get(self, request: Request) -> HttpResponseBase:
        query = request.query_params
        which: dict[str, Any] = {}
        with only(self.business):
            if purchase_id := query.get("purchase_id", "").strip():
                if query.get("sale_ids", "").strip(" ,"):
                    raise ParseError("Send sale_ids or purchase_id, not both.")
                which["purchase"] = self.purchase(read_id(purchase_id, "purchase_id"))
            else:
                which["sale_ids"] = read_sale_ids(query, most=allocation.MOST)
            profile = read_profile(query)
            try:
                export = exports.ready_or_build(
                    business=self.business, profile=profile, by=self.by, now=timezone.now(), **which
                )
            except exports.SaleNotFound as refusal:
                raise NotFound(str(refusal)) from refusal
        return self.hand_out(export)


class ExportsView(IdempotentPosts, FileView):
    """Ask for a file, of more leads than an address can name. 201: it is ready; 202: it is made when somebody comes for
    it, or in the background when it is long."""

    refusals = (404,)

    @extend_schema(request=ExportIn, responses={201: ExportOut, 202: ExportOut})
    def post(self, request: Request) -> Response:
        fields = self.body(ExportIn)
        which: dict[str, Any] = {"sale_ids": fields.get("sale_ids") or ()}
        try:
            with only(self.business):
                if fields.get("purchase_id") is not None:
                    which["purchase"] = self.purchase(fields["purchase_id"])
                # Only asked for: a file made here could outlive a transaction that is rolled back.
                export = exports.ask_for(
                    business=self.business, profile=ExportProfile(fields["profile"]), by=self.by, now=timezone.now(),
                    **which,
                )  # fmt: skip
        except exports.SaleNotFound as refusal:
            raise NotFound(str(refusal)) from refusal
        except Refused as refusal:
            raise Unprocessable(str(refusal)) from refusal
        return Response(self.shown(export), status=201 if export.status == ExportStatus.READY else 202)


class ExportView(FileView):
    """The file that was asked for, or 202 as long as it is being made."""

    refusals = (404, 409, 410)

    @extend_schema(responses=FILE, parameters=[_path_id("export_id"), CLIENT_ID])
    def get(self, request: Request, export_id: str) -> HttpResponseBase:
        with only(self.business):
            rows = Export.objects.for_business(self.business).filter(pk=_id(export_id, "export"))
            export: Export = _there(rows.first(), "export")
            export.business = self.business
            if export.status == ExportStatus.BUILDING and len(export.sale_ids) <= exports.AT_ONCE:
                export = exports.build(export.pk, now=timezone.now())
        return self.hand_out(export)


# --- After the purchase ----------------------------------------------------------------------------------------------------


class ReturnsView(IdempotentPosts, BuyerView):
    """Give a lead back. What our own records prove is accepted at once, the rest is decided by a person."""

    refusals = (404, 409)

    @extend_schema(request=ReturnIn, responses={201: ReturnOut})
    def post(self, request: Request) -> Response:
        fields = self.body(ReturnIn)
        try:
            with only(self.business):
                row = returns.ask(
                    business=self.business, sale_id=fields["sale_id"], reason=ReturnReason(fields["reason"]),
                    note=fields.get("note") or "", by=self.by, now=timezone.now(),
                )  # fmt: skip
                return Response(return_answer(row), status=201)
        except returns.SaleNotFound as refusal:
            raise NotFound(str(refusal)) from refusal
        except Refused as refusal:
            raise Conflict(str(refusal)) from refusal

    @extend_schema(operation_id="returns_list", responses=ReturnsOut, parameters=[PageQuery, CLIENT_ID])
    def get(self, request: Request) -> Response:
        """Your returns, the newest first."""
        with only(self.business):
            rows = Return.objects.for_business(self.business).select_related("sale")
            return Response(self.page(rows, by="-requested_at", answer=return_answer))


class ReturnView(BuyerView):
    """A return of yours."""

    refusals = (404,)

    @extend_schema(responses=ReturnOut, parameters=[_path_id("return_id"), CLIENT_ID])
    def get(self, request: Request, return_id: str) -> Response:
        with only(self.business):
            rows = Return.objects.for_business(self.business).select_related("sale")
            return Response(return_answer(_there(rows.filter(pk=_id(return_id, "return")).first(), "return")))


class AccountView(BuyerView):
    """Your account: what stands on it, what can be spent, and what may be returned."""

    @extend_schema(responses=AccountOut, parameters=[CLIENT_ID])
    def get(self, request: Request) -> Response:
        with only(self.business):
            allowed = returns.allowance(business=self.business, now=timezone.now())
        return Response(account_answer(self.buyer, allowed=allowed))


class RecallsView(BuyerView):
    """Bought leads whose people opted out or were erased since, the oldest notice first."""

    @extend_schema(responses=NoticesOut, parameters=[NoticeQuery, PageQuery, CLIENT_ID])
    def get(self, request: Request) -> Response:
        asked = read_notices(request.query_params)
        with only(self.business):
            rows = recalls.notices_since(self.business, asked.since)
            if asked.acknowledged is not None:
                rows = rows.filter(acknowledged_at__isnull=not asked.acknowledged)
            return Response(self.page(rows, by="created_at", answer=notice_answer))


class RecallsFileView(BuyerView):
    """The same as CSV. Ask with the moment you asked last: a notice may come twice, and none is missed."""

    content_negotiation_class = AnyAccept

    @extend_schema(responses={(200, "text/csv"): OpenApiTypes.STR}, parameters=[SinceQuery, CLIENT_ID])
    def get(self, request: Request) -> HttpResponseBase:
        lines = recalls.delta_csv(self.business, read_notices(request.query_params).since)
        response = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = "attachment; filename=recalls.csv"
        response["Cache-Control"] = "private, no-store"
        return response


class AcknowledgeView(IdempotentPosts, BuyerView):
    """Say that you heard. Notices that are not yours, or acknowledged already, are left as they are."""

    @extend_schema(request=AcknowledgeIn, responses=AcknowledgedOut)
    def post(self, request: Request) -> Response:
        count = recalls.acknowledge(
            business=self.business, notice_ids=self.body(AcknowledgeIn)["notice_ids"], by=self.by, now=timezone.now()
        )
        return Response({"acknowledged": count})


class ListBody(BaseParser):
    """A list of numbers or hashes, one on a line."""

    media_type = "text/csv"

    def parse(  # type: ignore[override]  # DRF hands on whatever it is
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Any = None
    ) -> bytes:
        """Not from the stream, which has no limit. Raises RequestDataTooBig."""
        body: bytes = parser_context["request"].body
        return body


class KnownPhonesView(IdempotentPosts, BuyerView):
    """Tell us whom you have already, and they are not sold to you: SHA-256 as JSON, or a CSV of numbers or SHA-256.

    Up to 1 MB at a time; longer lists go through the page. Of every person only a mark is kept, which nobody can turn
    back into a number.
    """

    parser_classes = (JsonBody, ListBody)  # type: ignore[assignment]

    @extend_schema(
        request={"application/json": KnownPhonesIn, "text/csv": OpenApiTypes.STR}, responses={201: UploadedOut}
    )
    def post(self, request: Request) -> Response:
        name = "From the API"
        if isinstance(request.data, bytes):
            lines = request.data
        else:
            fields = self.body(KnownPhonesIn)
            lines, name = "\n".join(fields["sha256"]).encode(), fields.get("name") or name
        try:
            done = known.upload(
                business=self.business, file=io.BytesIO(lines), name=name, actor=None, now=timezone.now()
            )
        except Refused as refusal:
            raise Unprocessable(str(refusal)) from refusal
        return Response(
            {
                "upload_id": str(done.upload.pk),
                "rows": done.upload.rows,
                "added": done.upload.added,
                "refused": done.upload.refused,
                "problems": done.problems,
            },
            status=201,
        )


class WebhookView(BuyerView):
    """Where recalls are sent the moment they happen."""

    parser_classes = (JsonBody,)

    @extend_schema(responses=WebhookOut, parameters=[CLIENT_ID])
    def get(self, request: Request) -> Response:
        return Response({"url": self.buyer.webhook_url or None})

    @extend_schema(request=WebhookIn, responses=NewWebhookOut)
    def put(self, request: Request) -> Response:
        """From now on to this address, signed with a new secret."""
        url = self.body(WebhookIn)["url"]
        try:
            secret = webhooks.set_webhook(business=self.business, url=url, actor=None, now=timezone.now())
        except Refused as refusal:
            raise Unprocessable(f"url: {refusal}", errors={"url": [str(refusal)]}) from refusal
        return Response({"url": url, "secret": secret})

    @extend_schema(responses={204: None}, parameters=[CLIENT_ID])
    def delete(self, request: Request) -> Response:
        """To no address any more."""
        webhooks.remove_webhook(business=self.business, actor=None, now=timezone.now())
        return Response(status=204)


# --- Inside ------------------------------------------------------------------------------------------------------------


def _id(text: str, what: str) -> UUID:
    """Of an address. What is no id belongs to nothing, and is not found in the same words."""
    try:
        return UUID(text)
    except ValueError:
        raise NotFound(f"There is no such {what}.") from None


def _there(row: Any, what: str) -> Any:
    if row is None:
        raise NotFound(f"There is no such {what}.")
    return row


def _bought_answer(*, requested: int, bought: Bought | None = None) -> dict[str, Any]:
    replaced = bought.replaced if bought else 0
    more = f" {replaced} leads were automatically replaced." if replaced else ""
    return {
        "success": bought is not None,
        "sale_ids": [str(pk) for pk in bought.sale_ids] if bought else [],
        "total_paid": say(bought.purchase.total if bought else Decimal(0)),
        "items_requested": requested,
        "items_purchased": len(bought.sale_ids) if bought else 0,
        "items_replaced": replaced,
        "errors": [],
        "message": f"Purchase completed successfully.{more}",
        "purchase_id": str(bought.purchase.pk) if bought else None,
        "purchase_number": str(bought.purchase) if bought else None,
    }
