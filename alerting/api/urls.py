"""Routes of alerting under /api/v1/."""

from django.urls import path

from alerting.api import budgets, channels, deliveries, inhibitions, preview, rules, silences, templates, thresholds

urlpatterns = [
    path("alert-rules", rules.RuleList.as_view(), name="alert-rules"),
    path("alert-rules/preview", preview.Preview.as_view(), name="alert-rule-preview"),
    path("alert-rules/<int:rule_id>", rules.RuleDetail.as_view(), name="alert-rule"),
    path("channels", channels.ChannelList.as_view(), name="channels"),
    path("channels/preview", templates.TemplatePreview.as_view(), name="channel-preview"),
    path("channels/<int:channel_id>", channels.ChannelDetail.as_view(), name="channel"),
    path("channels/<int:channel_id>/test", channels.TryChannel.as_view(), name="channel-test"),
    path("silences", silences.SilenceList.as_view(), name="silences"),
    path("silences/<int:silence_id>", silences.SilenceDetail.as_view(), name="silence"),
    path("silences/<int:silence_id>/end", silences.EndSilence.as_view(), name="silence-end"),
    path("inhibitions", inhibitions.InhibitionList.as_view(), name="inhibitions"),
    path("inhibitions/<int:inhibition_id>", inhibitions.InhibitionDetail.as_view(), name="inhibition"),
    path("thresholds", thresholds.ThresholdList.as_view(), name="thresholds"),
    path("thresholds/<int:threshold_id>", thresholds.ThresholdDetail.as_view(), name="threshold"),
    path("budgets", budgets.BudgetList.as_view(), name="budgets"),
    path("budgets/<int:budget_id>", budgets.BudgetDetail.as_view(), name="budget"),
    path("deliveries", deliveries.DeliveryList.as_view(), name="deliveries"),
    path("deliveries/<uuid:delivery_id>", deliveries.DeliveryDetail.as_view(), name="delivery"),
]
