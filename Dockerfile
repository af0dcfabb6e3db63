# The recipes with the versions of requirements.lock, on a processor:
#   docker build -t recipes .
#   docker run --rm -v "$PWD/results:/recipes/results" -v "$HOME/tensorflow_datasets:/data" recipes recipe-dropout
FROM python:3.13-slim
RUN apt-get update && apt-get install -y --no-install-recommends git make && rm -rf /var/lib/apt/lists/*
ENV TFDS_DATA_DIR=/data
WORKDIR /recipes
COPY Makefile requirements.lock ./
RUN make .venv/.installed PYTHONS=python
COPY . .
ENTRYPOINT ["make"]
CMD ["list"]
