# The service with its locked requirements, run by a user without rights. Data lies in /data; secrets come as variables or files at run
# time, never into a layer: see docs/how-to/deploy.md.
FROM python:3.13-slim-bookworm AS built

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/patchbay/.venv
COPY requirements.txt /tmp/requirements.txt
# Wheels only, each with its hash: nothing is compiled, and no code of a package runs while it is installed.
RUN /opt/patchbay/.venv/bin/python -m pip install --no-deps --require-hashes --only-binary :all: -r /tmp/requirements.txt

FROM python:3.13-slim-bookworm

RUN groupadd --system --gid 10001 patchbay \
    && useradd --system --uid 10001 --gid patchbay --home-dir /opt/patchbay --no-create-home --shell /usr/sbin/nologin patchbay \
    && install -d -o patchbay -g patchbay -m 0700 /data
COPY --from=built /opt/patchbay/.venv /opt/patchbay/.venv
COPY backend /opt/patchbay/backend
WORKDIR /opt/patchbay
ENV PATH=/opt/patchbay/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PATCHBAY_HOST=0.0.0.0 \
    PATCHBAY_PORT=8000 \
    PATCHBAY_DATA_DIR=/data \
    PATCHBAY_LEAVING_SECONDS=5
USER 10001
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
ENTRYPOINT ["python", "-m", "backend"]
CMD ["serve"]
