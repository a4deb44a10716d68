# emu in a container, from this project alone: docker build -t emu:0.1.0 .
# Nothing of it needs root; a node's disk is /var/lib/emu (see `emu export kubernetes`).
FROM python:3.12-slim
COPY . /src
RUN pip install --no-cache-dir /src && rm -rf /src
RUN useradd --uid 10001 --create-home emu && install -d -o emu /var/lib/emu
USER 10001
ENV EMU_STATE_DIR=/var/lib/emu PYTHONUNBUFFERED=1
ENTRYPOINT ["emu"]
