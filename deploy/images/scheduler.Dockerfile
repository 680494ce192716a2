# The scheduler: it parses no model, runs no compiler, and has neither.
# Built by docker-bake.hcl, which gives BASE_IMAGE and the named contexts: wheel.
ARG BASE_IMAGE
FROM ${BASE_IMAGE} AS base
ARG BASE_IMAGE
RUN case "${BASE_IMAGE}" in *@sha256:*) ;; \
    *) echo "BASE_IMAGE: name Debian 12 by digest (debian@sha256:...), not ${BASE_IMAGE}" >&2; exit 1 ;; \
    esac

FROM base AS python
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /opt/tinymlaas \
    && /opt/tinymlaas/bin/pip uninstall --yes setuptools
COPY requirements/scheduler.txt /tmp/requirements.txt
RUN /opt/tinymlaas/bin/pip install --no-cache-dir --require-hashes --no-deps \
        --only-binary :all: --requirement /tmp/requirements.txt
COPY --from=wheel tinymlaas-*.whl /tmp/
RUN /opt/tinymlaas/bin/pip install --no-cache-dir --no-index --no-deps /tmp/tinymlaas-*.whl \
    && /opt/tinymlaas/bin/pip uninstall --yes pip

FROM base AS final
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        python3 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=python /opt/tinymlaas /opt/tinymlaas
ENV PATH=/opt/tinymlaas/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1
ARG BASE_IMAGE
COPY sbom.py /usr/share/tinymlaas/
RUN python /usr/share/tinymlaas/sbom.py --image scheduler --base "${BASE_IMAGE}" \
        > /usr/share/tinymlaas/sbom.cdx.json
ARG VERSION
ARG REVISION
ARG SOURCE
LABEL org.opencontainers.image.title="tinymlaas scheduler" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${BASE_IMAGE}"
USER 10001:10001
WORKDIR /
ENTRYPOINT ["python", "-m", "scheduler"]
