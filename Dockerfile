# The server alone: no torch, no compiler, not root.
# ONNX_EXTRA is server-cpu, or server for the ONNX Runtime that uses a GPU.
FROM python:3.11-slim AS build
ARG ONNX_EXTRA=server-cpu
WORKDIR /src
RUN python -m venv /opt/gnnrec
COPY pyproject.toml constraints.txt README.md ./
COPY protos protos
COPY registry registry
COPY server server
COPY training training
COPY gnnrec gnnrec
RUN /opt/gnnrec/bin/pip install --no-cache-dir --constraint constraints.txt ".[${ONNX_EXTRA}]" \
    && /opt/gnnrec/bin/pip uninstall --yes --quiet pip setuptools

FROM python:3.11-slim
RUN useradd --system --uid 10001 --no-create-home gnnrec
COPY --from=build /opt/gnnrec /opt/gnnrec
ENV PATH=/opt/gnnrec/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    GNNREC_REGISTRY=/registry \
    GNNREC_ADDRESS=0.0.0.0:50051
USER gnnrec
EXPOSE 50051 9464
VOLUME /registry
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s CMD ["gnnrec", "health"]
ENTRYPOINT ["gnnrec"]
CMD ["serve"]
