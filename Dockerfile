# Built by `make image`, which makes bin/rootfs: the static binary and an empty
# /data. No RUN and no syntax line, so that nothing is pulled and the legacy
# builder does.
FROM scratch
# The owner of /data becomes the owner of a fresh volume.
COPY --chown=65532:65532 bin/rootfs/ /
USER 65532:65532
VOLUME /data
EXPOSE 8081/tcp 9081/tcp 7081/tcp 7081/udp
HEALTHCHECK --interval=2s --timeout=3s --start-period=5s --retries=5 CMD ["/quorate", "health", "--ready"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/quorate"]
CMD ["serve"]
