# All images of the farm: docs/deploy.md says how. Nothing has a default that decides what is inside.
#   make wheel
#   BASE_IMAGE=debian@sha256:… CMSIS_NN=../CMSIS-NN TFLM=../tflite-micro REGISTRY=registry.example.com/tinymlaas \
#     docker buildx bake -f deploy/images/docker-bake.hcl --allow fs.read=../CMSIS-NN \
#     --allow fs.read=../tflite-micro --push --metadata-file out/images.json

variable "BASE_IMAGE" {
  default = ""
}

variable "REGISTRY" {
  default = "tinymlaas"
}

variable "VERSION" {
  default = "dev"
}

variable "REVISION" {
  default = ""
}

variable "SOURCE" {
  default = ""
}

# Trees of sources, as folders beside this repository or `https://…#commit` for BuildKit to fetch.
variable "CMSIS_NN" {
  default = "../CMSIS-NN"
}

variable "TFLM" {
  default = "../tflite-micro"
}

group "default" {
  targets = ["scheduler", "worker-tvm", "worker-tflm", "worker-cmsis-nn", "worker-prepare"]
}

target "_common" {
  context = "deploy/images"
  contexts = {
    wheel = "out"
  }
  args = {
    BASE_IMAGE        = BASE_IMAGE
    VERSION           = VERSION
    REVISION          = REVISION
    SOURCE            = SOURCE
    SOURCE_DATE_EPOCH = "0"
  }
  attest = ["type=provenance,mode=max"]
}

target "scheduler" {
  inherits   = ["_common"]
  dockerfile = "scheduler.Dockerfile"
  tags       = ["${REGISTRY}/scheduler:${VERSION}"]
}

target "worker-tvm" {
  inherits   = ["_common"]
  dockerfile = "worker-tvm.Dockerfile"
  tags       = ["${REGISTRY}/worker-tvm:${VERSION}"]
}

target "worker-tflm" {
  inherits   = ["_common"]
  dockerfile = "worker-tflm.Dockerfile"
  tags       = ["${REGISTRY}/worker-tflm:${VERSION}"]
  contexts = {
    wheel = "out"
    tflm  = TFLM
  }
}

target "worker-cmsis-nn" {
  inherits   = ["_common"]
  dockerfile = "worker-cmsis-nn.Dockerfile"
  tags       = ["${REGISTRY}/worker-cmsis-nn:${VERSION}"]
  contexts = {
    wheel    = "out"
    cmsis-nn = CMSIS_NN
  }
}

target "worker-prepare" {
  inherits   = ["_common"]
  dockerfile = "worker-prepare.Dockerfile"
  tags       = ["${REGISTRY}/worker-prepare:${VERSION}"]
}
