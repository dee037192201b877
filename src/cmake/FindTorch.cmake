# Finds LibTorch 2.11 of the PyPI wheel and offers it as lorsa_torch; decides LORSA_HAS_CUDA and then offers its CUDA
# libraries and the toolkit's headers as lorsa_torch_cuda.
#
# LORSA_TORCH_ROOT is the wheel's torch folder; by default that of the .venv beside the sources. Another LibTorch of the
# machine (Debian's libtorch-dev) is never looked for.

if(NOT EXISTS "${LORSA_TORCH_ROOT}/version.py")
  file(GLOB lorsa_torch_candidates ${CMAKE_SOURCE_DIR}/.venv/lib/python3*/site-packages/torch)
  list(SORT lorsa_torch_candidates ORDER DESCENDING)
  list(POP_FRONT lorsa_torch_candidates lorsa_torch_candidate)
  if(lorsa_torch_candidate OR NOT LORSA_TORCH_ROOT)
    set(LORSA_TORCH_ROOT "${lorsa_torch_candidate}" CACHE PATH "Folder of the torch wheel (.../site-packages/torch)" FORCE)
  endif()
endif()
include(${CMAKE_CURRENT_LIST_DIR}/Torch.cmake)

if(NOT LORSA_CUDA MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "LORSA_CUDA=${LORSA_CUDA}: expected AUTO, ON or OFF")
endif()
set(LORSA_HAS_CUDA OFF)
if(NOT LORSA_CUDA STREQUAL OFF)
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    set(LORSA_HAS_CUDA ON)
  elseif(LORSA_CUDA STREQUAL ON)
    message(FATAL_ERROR "LORSA_CUDA=ON, but no CUDA compiler was found: put nvcc on PATH or set CUDACXX")
  endif()
endif()

if(LORSA_HAS_CUDA)
  if(NOT EXISTS "${LORSA_TORCH_ROOT}/lib/libtorch_cuda.so")
    message(FATAL_ERROR "the LibTorch in ${LORSA_TORCH_ROOT} was built without CUDA: use LORSA_CUDA=OFF")
  endif()
  if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES "80;90a")
  endif()
  # CMake 3.25 knows no later standard for nvcc 13.
  set(CMAKE_CUDA_STANDARD 17)
  set(CMAKE_CUDA_STANDARD_REQUIRED ON)
  set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)
  enable_language(CUDA)
  find_package(CUDAToolkit REQUIRED)
  lorsa_torch_library(torch_cuda)
  lorsa_torch_library(c10_cuda)
  target_link_libraries(lorsa_torch_cuda INTERFACE lorsa_c10_cuda lorsa_torch CUDA::cudart)
endif()
message(STATUS "LibTorch: ${LORSA_TORCH_ROOT}; CUDA: ${LORSA_HAS_CUDA}")
