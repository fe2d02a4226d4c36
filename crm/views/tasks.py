"""Something is done, or not yet after all."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from crm import flash, services
from crm.access import PageRequest, business_page
from crm.models import Task


@require_POST
@business_page("today", write=True)
def done(request: PageRequest, pk: UUID) -> HttpResponse:
    task = _task(request, pk)
    if services.finish_task(task=task, user=request.user, now=request.now):
        undo = reverse("crm:task_reopen", args=[request.business.slug, task.pk])
        flash.offer_undo(request, sentence=f"Done: {task.title}", url=undo)
    else:
        messages.info(request, f"This was done already: {task.title}")
    return redirect("leads:today", request.business.slug)


@require_POST
@business_page("today", write=True)
def reopen(request: PageRequest, pk: UUID) -> HttpResponse:
    task = _task(request, pk)
    try:
        if task.done_at is not None:
            services.reopen_task(task=task, user=request.user, now=request.now)
        messages.success(request, f"Back on the list: {task.title}")
    except services.Refused as reason:
        messages.error(request, str(reason))
    return redirect("leads:today", request.business.slug)


def _task(request: PageRequest, pk: UUID) -> Task:
    task: Task = get_object_or_404(Task.objects.for_business(request.business), pk=pk)
    task.business = request.business
    return task
