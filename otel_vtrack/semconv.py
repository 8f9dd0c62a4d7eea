"""Attribute names shared by the SDK and the server; constants only.

Names are from the OpenTelemetry semantic conventions 1.44 unless they start with ``vtrack.``. They
are defined here because the Python semconv package renames and deprecates its constants from
release to release.
"""

from typing import Final

SERVICE_NAME: Final = "service.name"
SERVICE_NAMESPACE: Final = "service.namespace"
SERVICE_VERSION: Final = "service.version"
DEPLOYMENT_ENVIRONMENT_NAME: Final = "deployment.environment.name"
DEPLOYMENT_ID: Final = "deployment.id"
VCS_REF_HEAD_NAME: Final = "vcs.ref.head.name"
VCS_REF_HEAD_REVISION: Final = "vcs.ref.head.revision"
VCS_REPOSITORY_URL_FULL: Final = "vcs.repository.url.full"
CICD_PIPELINE_NAME: Final = "cicd.pipeline.name"
CICD_PIPELINE_RUN_ID: Final = "cicd.pipeline.run.id"
CICD_PIPELINE_RUN_URL_FULL: Final = "cicd.pipeline.run.url.full"
SESSION_ID: Final = "session.id"
USER_ID: Final = "user.id"

FEATURE_FLAG_EVALUATION: Final = "feature_flag.evaluation"
FEATURE_FLAG_KEY: Final = "feature_flag.key"
FEATURE_FLAG_PROVIDER_NAME: Final = "feature_flag.provider.name"
FEATURE_FLAG_RESULT_VARIANT: Final = "feature_flag.result.variant"
FEATURE_FLAG_RESULT_VALUE: Final = "feature_flag.result.value"
FEATURE_FLAG_RESULT_REASON: Final = "feature_flag.result.reason"
FEATURE_FLAG_CONTEXT_ID: Final = "feature_flag.context.id"
FEATURE_FLAG_VERSION: Final = "feature_flag.version"
FEATURE_FLAG_SET_ID: Final = "feature_flag.set.id"
FEATURE_FLAG_ERROR_MESSAGE: Final = "feature_flag.error.message"
ERROR_TYPE: Final = "error.type"

GEN_AI_EVALUATION_RESULT: Final = "gen_ai.evaluation.result"
GEN_AI_EVALUATION_NAME: Final = "gen_ai.evaluation.name"
GEN_AI_EVALUATION_SCORE_VALUE: Final = "gen_ai.evaluation.score.value"
GEN_AI_EVALUATION_SCORE_LABEL: Final = "gen_ai.evaluation.score.label"
GEN_AI_EVALUATION_EXPLANATION: Final = "gen_ai.evaluation.explanation"

VTRACK_EXPERIMENT: Final = "vtrack.experiment"
"""The experiment that a resource's traces belong to; the experiment header overrides it."""

VTRACK_VCS_DIRTY: Final = "vtrack.vcs.dirty"
"""Whether the working tree had uncommitted changes; the conventions have no name for it."""

VTRACK_FLAG_PREFIX: Final = "vtrack.flag."
"""Prefix of the span attribute that holds a feature flag's variant; the flag's key follows."""

VTRACK_TAG_PREFIX: Final = "mlflow.traceTag."
"""Prefix of root span attributes that are tags of the trace (MLflow's convention)."""

VTRACK_ASSESSMENT_ID: Final = "vtrack.assessment.id"
VTRACK_ASSESSMENT_TYPE: Final = "vtrack.assessment.type"
"""`feedback` or `expectation`; `feedback` if an evaluation event lacks it."""

VTRACK_ASSESSMENT_VALUE: Final = "vtrack.assessment.value"
"""The value, of any type, as JSON text; the conventions define only numbers and labels."""

VTRACK_ASSESSMENT_SOURCE_TYPE: Final = "vtrack.assessment.source_type"
VTRACK_ASSESSMENT_SOURCE_ID: Final = "vtrack.assessment.source_id"
VTRACK_ASSESSMENT_METADATA: Final = "vtrack.assessment.metadata"
"""A JSON object of strings."""

VTRACK_ASSESSMENT_ERROR_MESSAGE: Final = "vtrack.assessment.error_message"
VTRACK_ASSESSMENT_STACK_TRACE: Final = "vtrack.assessment.stack_trace"
VTRACK_ASSESSMENT_OVERRIDES: Final = "vtrack.assessment.overrides"
