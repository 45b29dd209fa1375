# The program `privml` with exactly the locked dependencies; every download is held against its hash.
FROM python:3.12-slim-bookworm AS build
WORKDIR /src
COPY requirements.lock ./
# The whole lock, tools included: uv and hatchling come out of it, and stay in this stage.
RUN python -m pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY crypto ./crypto
COPY schemas ./schemas
COPY roles ./roles
COPY pipeline ./pipeline
RUN python -m hatchling build -t wheel -d /wheels
# uv, since pip takes no hashes from constraints.
RUN python -m venv --without-pip /opt/privml \
 && uv pip install --quiet --no-cache --compile-bytecode --python /opt/privml/bin/python \
      --constraint requirements.lock /wheels/*.whl

FROM python:3.12-slim-bookworm
COPY --from=build /opt/privml /opt/privml
# The number that the broker's image gives its own user, so that both can use a volume. The folders are
# where docker-compose.kafka.yml puts volumes: an empty one takes over the owner of its place.
RUN useradd --uid 1000 --create-home privml \
 && install -d -m 700 -o privml -g privml \
      /public /tenant /mu /su /secrets /passwords /mu-login /su-login
ENV PATH=/opt/privml/bin:$PATH
WORKDIR /tenant
USER privml
ENTRYPOINT ["privml"]
