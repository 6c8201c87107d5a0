# Gregale's image. BACKEND=cpu builds without CUDA kernels; BACKEND=gpu builds them with nvcc, and the
# image then needs nothing but the host's NVIDIA driver.
ARG BACKEND=cpu

FROM maven:3-eclipse-temurin-25 AS build-cpu

FROM nvidia/cuda:13.0.1-devel-ubuntu24.04 AS build-gpu
COPY --from=build-cpu /opt/java/openjdk /opt/java/openjdk
COPY --from=build-cpu /usr/share/maven /usr/share/maven
ENV JAVA_HOME=/opt/java/openjdk PATH=/opt/java/openjdk/bin:/usr/share/maven/bin:/usr/local/cuda/bin:$PATH

FROM build-${BACKEND} AS build
WORKDIR /src
COPY . .
RUN mvn --batch-mode --no-transfer-progress -DskipTests package \
 && java -Djarmode=tools -jar target/gregale-server.jar extract --destination /app

FROM eclipse-temurin:25-jre
RUN useradd --system --uid 10001 --create-home gregale
USER 10001
COPY --from=build /app /app
EXPOSE 8080
# The Vector API has to be named on the command line; the heap holds requests, not weights.
ENTRYPOINT ["java", "--add-modules=jdk.incubator.vector", "--enable-native-access=ALL-UNNAMED", \
  "--sun-misc-unsafe-memory-access=allow", "-XX:MaxRAMPercentage=50", "-jar", "/app/gregale-server.jar"]
