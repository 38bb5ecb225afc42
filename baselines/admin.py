"""The admin of what exists: projects, services, baselines and the persisted state."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import Model, QuerySet, URLField
from django.forms import ModelChoiceField
from django.http import HttpRequest
from django.utils import timezone
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import action, display

from baselines import catalogue
from baselines.admin_tools import BoundedPaginator, ReadOnlyAdmin, ScopedAdmin, service_filter, text_filter
from baselines.models import Annotation, BaselineSnapshot, PartitionCheckpoint, Project, ServedModel, Service
from baselines.people import name_of
from baselines.visibility import visible_project_ids
from baselines.watch import watch_of, with_samples


def visible_projects(principal: object) -> QuerySet[Project]:
    """The projects a person may see."""
    ids = visible_project_ids(principal)
    return Project.objects.all() if ids is None else Project.objects.filter(pk__in=ids)


class ProjectChoice:
    """Offers a person their own projects only; nobody but a superuser may leave it to all of them."""

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **options: Any) -> ModelChoiceField | None:
        if db_field.name == "project":
            options["queryset"] = visible_projects(request.user)
        field = super().formfield_for_foreignkey(db_field, request, **options)  # type: ignore[misc]
        if db_field.name == "project" and field is not None:
            field.required = field.required or visible_project_ids(request.user) is not None
        return field


class OwnedAdmin(ProjectChoice, ScopedAdmin):
    """Rows of one project or of all; what concerns all projects is for those to change who see all of them."""

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return super().has_change_permission(request, obj) and self._owns(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return super().has_delete_permission(request, obj) and self._owns(request, obj)

    @staticmethod
    def _owns(request: HttpRequest, obj: Any) -> bool:
        return obj is None or obj.project_id is not None or visible_project_ids(request.user) is None

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """The rows that this person may delete one by one, and no others."""
        for row in queryset:
            if self.has_delete_permission(request, row):
                row.delete()


@admin.register(Project)
class ProjectAdmin(ModelAdmin):
    list_display = ["name", "description", "created_at"]
    search_fields = ["name"]
    autocomplete_fields = ["members"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Project]:
        return visible_projects(request.user)

    def get_readonly_fields(self, request: HttpRequest, obj: Project | None = None) -> list[str]:
        """Who belongs to a project is for superusers to say: a member sees everything in it."""
        return [] if request.user.is_superuser else ["members"]  # type: ignore[union-attr]

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        if not change and not request.user.is_superuser:  # type: ignore[union-attr]
            form.instance.members.add(request.user)  # else nobody could see what they made


class WatchColumns:
    """How a pair is watched; `samples` comes with the query."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[ServedModel]:
        return with_samples(super().get_queryset(request))  # type: ignore[misc]

    @display(description="watch", label={"ready": "success", "warming": "info", "capped": "warning"})
    def watch(self, model: ServedModel) -> str:
        return watch_of(model, model.samples).value  # type: ignore[attr-defined]

    @display(description="samples")
    def samples(self, model: ServedModel) -> int:
        return int(model.samples)  # type: ignore[attr-defined]


class MayRetire:
    """Watching a pair no more is for operators, who edit nothing else of it."""

    def has_retire_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.has_perm("baselines.change_servedmodel"))  # type: ignore[union-attr]

    def tell_retired(self, request: HttpRequest, count: int) -> None:
        text = f"{count} retired; what is seen again comes back by itself."
        self.message_user(request, text, messages.SUCCESS if count else messages.WARNING)  # type: ignore[attr-defined]


class ServedModelInline(WatchColumns, TabularInline):
    model = ServedModel
    fields = readonly_fields = ["name", "watch", "samples", "first_seen", "last_seen", "retired_at"]
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(ServedModel)
class ServedModelAdmin(MayRetire, WatchColumns, ReadOnlyAdmin, ScopedAdmin):
    """Every pair of a service and a model it calls, and how it is watched."""

    list_display = ["service", "name", "watch", "samples", "last_seen", "retired_at"]
    list_display_links = ["service", "name"]
    list_select_related = ["service"]
    list_filter = [service_filter(), text_filter("model", "name")]
    list_filter_submit = True
    search_fields = ["service__name", "name"]
    fields = ["service", "name", "watch", "samples", "first_seen", "last_seen", "retired_at"]
    readonly_fields = ["watch", "samples"]
    actions = ["retire_selected"]

    @action(description="Retire", permissions=["retire"])
    def retire_selected(self, request: HttpRequest, queryset: QuerySet[ServedModel]) -> None:
        now = timezone.now()
        rows = queryset.select_related("service")
        self.tell_retired(request, sum(catalogue.retire(row.service, row.name, now) for row in rows))


@admin.register(Annotation)
class AnnotationAdmin(ProjectChoice, ScopedAdmin):
    """Deploys and other changes, which programs and people note."""

    list_display = ["at", "text", "service", "project", "url", "created_by"]
    list_display_links = ["at", "text"]
    list_select_related = ["service", "project"]
    list_filter = [service_filter()]
    list_filter_submit = True
    search_fields = ["text"]
    fields = ["at", "text", "url", "service", "project"]
    formfield_overrides = {URLField: {"assume_scheme": "https"}}
    sortable_by = ["at"]

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **options: Any) -> ModelChoiceField | None:
        if db_field.name == "service":
            options["queryset"] = Service.objects.visible_to(request.user)
        return super().formfield_for_foreignkey(db_field, request, **options)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and _owns_annotation(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and _owns_annotation(request, obj)

    def save_model(self, request: HttpRequest, obj: Annotation, form: Any, change: bool) -> None:
        if not change:
            obj.created_by = name_of(request.user)
        super().save_model(request, obj, form, change)


def _owns_annotation(request: HttpRequest, annotation: Annotation | None) -> bool:
    is_common = annotation is not None and annotation.service_id is None and annotation.project_id is None
    return not is_common or visible_project_ids(request.user) is None


@admin.register(Service)
class ServiceAdmin(MayRetire, ProjectChoice, ScopedAdmin):
    """Rows are made when a service is first seen; people say whose it is and label it."""

    list_display = ["name", "project", "labels", "first_seen", "last_seen"]
    list_select_related = ["project"]
    search_fields = ["name"]
    readonly_fields = ["name", "first_seen", "last_seen"]
    fields = ["name", "project", "labels", "first_seen", "last_seen"]
    inlines = [ServedModelInline]
    actions = ["retire_selected"]

    @action(description="Retire", permissions=["retire"])
    def retire_selected(self, request: HttpRequest, queryset: QuerySet[Service]) -> None:
        now = timezone.now()
        self.tell_retired(request, sum(catalogue.retire(service, None, now) for service in queryset))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(BaselineSnapshot)
class BaselineAdmin(ReadOnlyAdmin, ScopedAdmin):
    list_display = ["service", "model", "metric", "samples", "median", "mean", "stddev", "p95", "p99", "last_event_at"]
    list_filter = [text_filter("service"), text_filter("model"), text_filter("metric")]
    list_filter_submit = True
    search_fields = ["service", "model"]
    sortable_by = ["service"]


@admin.register(PartitionCheckpoint)
class CheckpointAdmin(ReadOnlyAdmin, ModelAdmin):
    """Up to where the detection state of each partition is persisted."""

    list_display = ["topic", "partition", "offset", "updated_at", "topic_id"]
    search_fields = ["topic"]
    paginator = BoundedPaginator
    show_full_result_count = False
