# Winnow's runtime: predicts and serves an exported file, without torch. From a clone: docker build -t winnow .
#   docker run --rm -v "$PWD:/work" winnow predict new/ --onnx shop.onnx --to results/
#   docker run --rm -v "$PWD:/work" -p 8000:8000 -e WINNOW_TOKEN winnow serve shop.onnx --host 0.0.0.0 --port 8000
FROM python:3.11-slim AS build
COPY . /source
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels /source

FROM python:3.11-slim
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir "$(ls /wheels/*.whl)[serve]" && rm -r /wheels && useradd --create-home winnow
USER winnow
WORKDIR /work
ENTRYPOINT ["winnow"]
CMD ["--help"]
