# One image for every part: the API, the dispatcher, the Ray head and the Ray workers.
# With an NVIDIA GPU, choose torch's CUDA build: --build-arg TORCH_INDEX=<the index of that build>.
ARG BASE=python:3.11-slim
FROM ${BASE}

ARG TORCH_INDEX=
ENV PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    RAY_USAGE_STATS_ENABLED=0

WORKDIR /srv/rulesmith
COPY constraints.txt pyproject.toml README.md rulesmith.py ./
RUN if [ -n "$TORCH_INDEX" ]; then pip install --index-url "$TORCH_INDEX" "$(grep '^torch==' constraints.txt)"; fi
COPY dsl dsl
COPY optimizers optimizers
COPY search search
COPY workers workers
COPY service service
RUN pip install --constraint constraints.txt . \
    && useradd --create-home --home-dir /srv/home rulesmith
USER rulesmith
WORKDIR /srv/home
EXPOSE 8000
ENTRYPOINT []
CMD ["rulesmith", "serve", "--host", "0.0.0.0"]
