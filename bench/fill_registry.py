#!/usr/bin/python3
"""Fills a registry with models, for load tests: one of real size, the others with a config and a README.

usage: fill_registry.py --bucket B [--endpoint URL] [--prefix P] [--models 500] [--bytes 24834009]

The first model is <prefix>arnir0_Tiny-LLM/main/model.zip, of random bytes in a zip that stores them; the
others are <prefix>model-NNN/main/model.zip, a few hundred bytes each. Beside every model.zip lie
config.json and README.md. The bucket is made when it is not there; what is there already is written anew.
Credentials are those of boto3: the environment or ~/.aws.
"""

import argparse
import concurrent.futures
import io
import json
import os
import sys
import zipfile

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

REAL = "arnir0_Tiny-LLM"


def texts(name):
    config = {"model_type": "llama", "name": name, "hidden_size": 192, "num_hidden_layers": 1}
    return {"config.json": json.dumps(config, indent=1).encode() + b"\n",
            "README.md": f"# {name}\n\nNothing to see: it fills a registry.\n".encode()}


def archive(name, size):
    """A zip of exactly size bytes if that is more than the texts need, else of the texts alone."""
    def build(padding):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as z:
            for member, content in texts(name).items():
                z.writestr(member, content)
            if padding:
                z.writestr("model.safetensors", os.urandom(padding))
        return out.getvalue()

    if size == 0:
        return build(0)
    overhead = len(build(1)) - 1
    return build(max(size - overhead, 1))


def objects(name, size):
    return {"model.zip": archive(name, size), **texts(name)}


def put_model(s3, options, name, size):
    for file, content in objects(name, size).items():
        s3.put_object(Bucket=options.bucket, Key=f"{options.prefix}{name}/main/{file}", Body=content)


def make_bucket(s3, bucket):
    try:
        s3.head_bucket(Bucket=bucket)
    except ClientError as e:
        if e.response["Error"]["Code"] not in ("404", "NoSuchBucket"):
            raise
        s3.create_bucket(Bucket=bucket)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--bucket", required=True)
    parser.add_argument("--endpoint", help="AWS's for the region unless said")
    parser.add_argument("--prefix", default="", help="with its slash")
    parser.add_argument("--models", type=int, default=500)
    parser.add_argument("--bytes", type=int, default=24834009, help="of the real one's model.zip")
    options = parser.parse_args()
    if options.models < 1 or options.bytes < 1024:
        parser.error("at least one model, of at least 1024 bytes")
    try:
        s3 = boto3.client("s3", endpoint_url=options.endpoint,
                          config=Config(max_pool_connections=16, retries={"max_attempts": 3}))
        make_bucket(s3, options.bucket)
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            jobs = [pool.submit(put_model, s3, options, REAL, options.bytes)]
            jobs += [pool.submit(put_model, s3, options, f"model-{n:03}", 0)
                     for n in range(1, options.models)]
            for done in concurrent.futures.as_completed(jobs):
                done.result()
    except (BotoCoreError, ClientError) as e:
        print(f"fill_registry: {e}", file=sys.stderr)
        return 1
    print(f"{options.models} models in {options.bucket}/{options.prefix}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
