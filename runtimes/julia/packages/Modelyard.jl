"""
What a model's source file may import of the SDK: `import Modelyard: predict`, to add its own method.

A worker has no use for the SDK's other verbs, and the SDK need not be in the model's environment.
"""
module Modelyard

export predict

function predict end

end
