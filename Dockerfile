# syntax=docker/dockerfile:1
# One image for every role. Which role a container plays is its command: see docker-compose.yaml and docs/deployment.md.

FROM python:3.11-slim-bookworm AS build
WORKDIR /app
RUN python -m venv --without-pip /opt/venv
COPY requirements.txt ./
RUN pip --python /opt/venv/bin/python install --no-cache-dir --require-hashes --requirement requirements.txt
COPY . ./
# Kernels are compiled where they will run, under the same path and for any processor of the architecture: all of that is
# part of their key. The final step renders static files; it needs settings, but neither secrets nor servers.
ENV PATH=/opt/venv/bin:$PATH NUMBA_CACHE_DIR=/opt/kernels NUMBA_CPU_NAME=generic
RUN python -m compileall -q . \
    && python -m anomalies.detection.warmup \
    && SENTINEL__ENVIRONMENT=development SENTINEL__DATABASE__URL=sqlite:////tmp/build.sqlite3 \
       python manage.py collectstatic --noinput --verbosity 0

FROM python:3.11-slim-bookworm AS runtime
RUN groupadd --gid 1000 sentinel \
    && useradd --uid 1000 --gid sentinel --no-create-home --home-dir /tmp --shell /usr/sbin/nologin sentinel
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
# Writable, so that a kernel that was not foreseen is compiled and kept instead of failing.
COPY --from=build --chown=sentinel:sentinel /opt/kernels /opt/kernels
ENV PATH=/opt/venv/bin:$PATH NUMBA_CACHE_DIR=/opt/kernels NUMBA_CPU_NAME=generic \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
USER 1000:1000
EXPOSE 8080
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s CMD ["python", "deployments/image/healthy.py", "8080"]
CMD ["deployments/image/web"]
