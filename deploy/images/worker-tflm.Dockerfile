# The pool tflm: TensorFlow Lite Micro's tree, cross gcc and simulators, and the interpreter that
# judges what it builds.
# Built by docker-bake.hcl, which gives BASE_IMAGE and the named contexts: wheel, tflm.
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
COPY requirements/worker-tflm.txt /tmp/requirements.txt
RUN /opt/tinymlaas/bin/pip install --no-cache-dir --require-hashes --no-deps \
        --only-binary :all: --requirement /tmp/requirements.txt
COPY --from=wheel tinymlaas-*.whl /tmp/
RUN /opt/tinymlaas/bin/pip install --no-cache-dir --no-index --no-deps /tmp/tinymlaas-*.whl \
    && /opt/tinymlaas/bin/pip uninstall --yes pip

FROM base AS final
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        binutils \
        bubblewrap \
        g++ \
        gcc \
        gcc-arm-none-eabi \
        gcc-riscv64-unknown-elf \
        libc6-dev \
        libnewlib-arm-none-eabi \
        libseccomp2 \
        libstdc++-arm-none-eabi-newlib \
        picolibc-riscv64-unknown-elf \
        python3 \
        qemu-system-arm \
        qemu-system-misc \
    && rm -rf /var/lib/apt/lists/*
COPY --from=python /opt/tinymlaas /opt/tinymlaas
COPY --from=tflm / /opt/tflm
ENV PATH=/opt/tinymlaas/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1 \
    TINYMLAAS_TFLM_ROOT=/opt/tflm
ARG BASE_IMAGE
COPY sbom.py /usr/share/tinymlaas/
RUN python /usr/share/tinymlaas/sbom.py --image worker-tflm --base "${BASE_IMAGE}" --tree tflm=/opt/tflm \
        > /usr/share/tinymlaas/sbom.cdx.json
ARG VERSION
ARG REVISION
ARG SOURCE
LABEL org.opencontainers.image.title="tinymlaas worker, TensorFlow Lite Micro" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${BASE_IMAGE}"
USER 10001:10001
WORKDIR /
ENTRYPOINT ["python", "-m", "workers", "--pool", "tflm"]
