"""A folder with the outline of a TFLM source tree, whose interpreter copies its input.

It declares the part of TFLM's public interface that a module uses, so that the module's source, the
search of the tree and the whole way to the simulator are tried; it says nothing about TFLM itself.
"""

from __future__ import annotations

from pathlib import Path

BYTES = 24
"""Bytes of the one input and the one output that the interpreter has."""

_COMMON_H = """
#pragma once
#include <cstddef>
#include <cstdint>
namespace SPACE {
enum TfLiteStatus { kTfLiteOk = 0, kTfLiteError = 1 };
union TfLitePtrUnion { char *raw; int8_t *int8; };
struct TfLiteTensor { TfLitePtrUnion data; size_t bytes; };
struct TFLMRegistration { int builtin_code; };
}
"""
_ALLOCATOR_H = """
#pragma once
#include "tensorflow/lite/micro/common.h"
namespace SPACE {
class MicroAllocator {
 public:
  static MicroAllocator *Create(uint8_t *arena, size_t size);
  uint8_t *arena;
  size_t size;
};
}
"""
_VARIABLES_H = """
#pragma once
#include "tensorflow/lite/micro/micro_allocator.h"
namespace SPACE {
class MicroResourceVariables {
 public:
  static MicroResourceVariables *Create(MicroAllocator *allocator, int most);
};
}
"""
_INTERPRETER_H = """
#pragma once
#include "flatbuffers/flatbuffers.h"
#include "tensorflow/lite/micro/micro_allocator.h"
#include "tensorflow/lite/schema/schema_generated.h"
namespace SPACE {
class MicroOpResolver { public: virtual unsigned added() const = 0; };
class MicroResourceVariables;
class MicroProfilerInterface;
class MicroInterpreter {
 public:
  MicroInterpreter(const tflite::Model *model, const MicroOpResolver &resolver, uint8_t *arena,
                   size_t size, MicroResourceVariables *variables = nullptr,
                   MicroProfilerInterface *profiler = nullptr, bool keep_all = false);
  MicroInterpreter(const tflite::Model *model, const MicroOpResolver &resolver,
                   MicroAllocator *allocator, MicroResourceVariables *variables = nullptr,
                   MicroProfilerInterface *profiler = nullptr);
  ~MicroInterpreter();
  TfLiteStatus AllocateTensors();
  TfLiteStatus Invoke();
  TfLiteTensor *input(size_t index);
  TfLiteTensor *output(size_t index);
 private:
  const tflite::Model *model_;
  const MicroOpResolver &resolver_;
  MicroAllocator &allocator_;
  TfLiteTensor tensors_[2];
};
}
"""
_INTERPRETER_CC = f"""
#include "tensorflow/lite/micro/micro_interpreter.h"
#include <cstring>
#include <new>
namespace SPACE {{
MicroAllocator *MicroAllocator::Create(uint8_t *arena, size_t size) {{
  MicroAllocator *made = new (arena) MicroAllocator();
  made->arena = arena + sizeof(MicroAllocator);
  made->size = size - sizeof(MicroAllocator);
  return made;
}}
MicroInterpreter::MicroInterpreter(const tflite::Model *model, const MicroOpResolver &resolver,
                                   MicroAllocator *allocator, MicroResourceVariables *,
                                   MicroProfilerInterface *)
    : model_(model), resolver_(resolver), allocator_(*allocator) {{}}
MicroInterpreter::~MicroInterpreter() {{}}
TfLiteStatus MicroInterpreter::AllocateTensors() {{
  if (model_ == nullptr || resolver_.added() != 1) return kTfLiteError;
  if (allocator_.size < {2 * BYTES}) return kTfLiteError;
  tensors_[0].data.raw = reinterpret_cast<char *>(allocator_.arena);
  tensors_[1].data.raw = tensors_[0].data.raw + {BYTES};
  tensors_[0].bytes = tensors_[1].bytes = {BYTES};
  return kTfLiteOk;
}}
TfLiteStatus MicroInterpreter::Invoke() {{
  std::memcpy(tensors_[1].data.raw, tensors_[0].data.raw, {BYTES});
  return kTfLiteOk;
}}
TfLiteTensor *MicroInterpreter::input(size_t) {{ return &tensors_[0]; }}
TfLiteTensor *MicroInterpreter::output(size_t) {{ return &tensors_[1]; }}
}}
"""
_RESOLVER_H = """
#pragma once
#include "tensorflow/lite/micro/micro_interpreter.h"
namespace SPACE {
inline TFLMRegistration Register_RESHAPE() { return {22}; }
template <unsigned int tOpCount>
class MicroMutableOpResolver : public MicroOpResolver {
 public:
  TfLiteStatus AddReshape(const TFLMRegistration &registration = Register_RESHAPE()) {
    if (added_ >= tOpCount) return kTfLiteError;
    registrations_[added_++] = registration;
    return kTfLiteOk;
  }
  unsigned added() const override { return added_; }
 private:
  TFLMRegistration registrations_[tOpCount];
  unsigned added_ = 0;
};
}
"""
_SCHEMA_H = """
#pragma once
namespace tflite {
struct Model;
inline const Model *GetModel(const void *data) { return static_cast<const Model *>(data); }
}  // namespace tflite
"""
_FILES = {
    "tensorflow/lite/micro/common.h": _COMMON_H,
    "tensorflow/lite/micro/micro_allocator.h": _ALLOCATOR_H,
    "tensorflow/lite/micro/micro_resource_variable.h": _VARIABLES_H,
    "tensorflow/lite/micro/micro_interpreter.h": _INTERPRETER_H,
    "tensorflow/lite/micro/micro_interpreter.cc": _INTERPRETER_CC,
    "tensorflow/lite/micro/micro_interpreter_test.cc": "#error tests are not part of a module\n",
    "tensorflow/lite/micro/micro_mutable_op_resolver.h": _RESOLVER_H,
    "tensorflow/lite/schema/schema_generated.h": _SCHEMA_H,
    "third_party/flatbuffers/include/flatbuffers/flatbuffers.h": "#pragma once\n",
}


def make(root: Path, namespace: str = "tflite") -> Path:
    """Write the tree below `root`, TFLM's classes in `namespace`; return `root`."""
    for name, text in _FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.lstrip().replace("SPACE", namespace))
    return root
